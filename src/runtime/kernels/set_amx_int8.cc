// AVX-512 with AMX-INT8: the kernels of set_avx512_bf16.cc, but many activation rows are multiplied by tiles
// (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18). A run of a panel is a
// tile of weights as it lies, and the codes of 16 activation rows are one with the stride of rows. Sums are
// scaled as in integer_tile.inc, in the same order. Everything here is in the set's namespace and stays there
// (see lanes.inc).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_amx_int8 {

#include "runtime/kernels/lanes_avx512.inc"

// clang-format off
#include "runtime/kernels/lanes.inc"
#include "runtime/kernels/panel_formats.inc"
#include "runtime/kernels/tile.inc"
#include "runtime/kernels/product.inc"
// clang-format on

inline constexpr Index kTileHeight = 16;
inline constexpr Index kFewestRows = 8;  // below that tiles are mostly empty
inline constexpr Index kRowBlock = 256;  // activation rows whose sums lie in the first cache

// What was written to `memory` so far is there: the compiler does not know that the tile instructions read
// it.
inline void settle(const void* memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// Tiles 0 to 3: sums, [rows][16] integers. Tile 4: activations, [rows][columns] bytes. Tile 5: weights,
// [columns / 4][64].
inline void configure(Index rows, int columns) {
  struct {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  } config;
  static_assert(sizeof config == 64);
  for (int tile = 0; tile < 5; ++tile)
    config.rows[tile] = static_cast<std::uint8_t>(rows), config.row_bytes[tile] = 64;
  config.row_bytes[4] = static_cast<std::uint16_t>(columns);
  config.rows[5] = static_cast<std::uint8_t>(columns / 4);
  config.row_bytes[5] = 64;
  settle(&config);
  _tile_loadconfig(&config);
}

#define RETORT_DOT(kTile)                                                                     \
  _tile_zero(kTile);                                                                          \
  _tile_loadd(4, x + (kTile) / kGroups * kRunBytes + (kTile) % kGroups * kColumns, x_stride); \
  _tile_loadd(5, codes + (kTile)*kColumns * kPanelRows, 64);                                  \
  _tile_dpbsud(kTile, 4, 5);                                                                  \
  _tile_stored(kTile, dots[kTile], 64)

// dots[i]: of the i-th of four (two, for a chunk of two runs) groups of columns with one scale.
template <class Format>
inline void dot_tiles(const std::byte* codes, const std::byte* x, Index x_stride, Ints (*dots)[kTileHeight]) {
  constexpr Index kGroups = Format::kGroups, kColumns = kRun / kGroups, kRunBytes = sizeof(ActivationRun);
  RETORT_DOT(0);
  RETORT_DOT(1);
  if constexpr (panel_layout(Format::kFormat).columns > 64) {
    RETORT_DOT(2);
    RETORT_DOT(3);
  }
}
#undef RETORT_DOT

// sums[t] += the products of one chunk of a panel with `rows` activation rows.
template <class Format>
inline void add_chunk(const std::byte* chunk, const std::byte* codes, const std::byte* x, Index x_stride,
                      Index rows, Floats* sums) {
  constexpr PanelLayout kLayout = panel_layout(Format::kFormat);
  constexpr int kGroups = Format::kGroups, kRuns = kLayout.columns / kRun,
                kTogether = kRuns > 2 ? 4 / kGroups : kRuns;
  alignas(64) Ints dots[4][kTileHeight];
  for (int run = 0; run < kRuns;
       run += kTogether, x += kTogether * static_cast<Index>(sizeof(ActivationRun))) {
    dot_tiles<Format>(codes + run * kRun * kPanelRows, x, x_stride, dots);
    Floats scales[kTogether][kGroups], minima[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      for (int group = 0; group < kGroups; ++group)
        scales[i][group] = Format::scale(chunk, run + i, group, 0);
      minima[i] = Format::minimum(chunk, run + i, 0);
    }
    for (Index t = 0; t < rows; ++t) {
      Floats sum = sums[t];
      for (int i = 0; i < kTogether; ++i) {
        const std::byte* row = x + t * x_stride + i * static_cast<Index>(sizeof(ActivationRun));
        const auto* a = reinterpret_cast<const ActivationRun*>(row);
        Floats scaled = to_float(dots[i * kGroups][t] + first_dot<Format>(row, 0)) * scales[i][0];
        if constexpr (kGroups == 2)
          scaled = fma(to_float(dots[i * kGroups + 1][t] + first_dot<Format>(row, 1)), scales[i][1], scaled);
        sum = fma(scaled, splat(a->scale), sum);
        if constexpr (Format::kMinimum) sum = fma(minima[i], splat(a->sum), sum);
      }
      sums[t] = sum;
    }
  }
}

// sums[t]: one panel by `n` activation rows, n ≤ kRowBlock.
template <class Format>
inline void multiply_panel(const std::byte* panel, Index chunks, const std::byte* x, Index x_stride, Index n,
                           Floats* sums) {
  constexpr PanelLayout kLayout = panel_layout(Format::kFormat);
  constexpr int kRuns = kLayout.columns / kRun;
  constexpr bool kBytes = kLayout.bytes - kLayout.codes_at == kLayout.columns * kPanelRows;
  for (Index t = 0; t < n; ++t) sums[t] = Floats{};
  Index configured = 0;
  for (Index chunk = 0; chunk < chunks; ++chunk, panel += kLayout.bytes) {
    alignas(64) Codes unpacked[kBytes ? 1 : kRuns * 8];
    if constexpr (!kBytes)
      for (int i = 0; i < kRuns * 8; ++i) unpacked[i] = Format::codes(panel, i / 8, i % 8, 0);
    settle(unpacked);
    const std::byte* codes = kBytes ? panel + kLayout.codes_at : reinterpret_cast<const std::byte*>(unpacked);
    for (Index t = 0; t < n; t += kTileHeight) {
      const Index rows = n - t < kTileHeight ? n - t : kTileHeight;
      if (rows != configured) configure(configured = rows, static_cast<int>(kRun) / Format::kGroups);
      add_chunk<Format>(panel, codes,
                        x + t * x_stride + chunk * kRuns * static_cast<Index>(sizeof(ActivationRun)),
                        x_stride, rows, sums + t);
    }
  }
}

template <class Format>
void multiply_tiles(const PanelJob& job) {
  const bool gated = job.store == Store::gated;
  alignas(64) Floats sums[2][kRowBlock];
  for (Index p = job.first_panel; p < job.last_panel; ++p)
    for (Index first = 0; first < job.n; first += kRowBlock) {
      const Index n = job.n - first < kRowBlock ? job.n - first : kRowBlock;
      const std::byte* x = job.activations + first * job.activation_stride;
      multiply_panel<Format>(job.weights + p * job.panel_bytes, job.chunks, x, job.activation_stride, n,
                             sums[0]);
      if (gated)
        multiply_panel<Format>(job.up + p * job.panel_bytes, job.chunks, x, job.activation_stride, n,
                               sums[1]);
      for (Index t = 0; t < n; ++t) {
        const Floats sum = sums[0][t] * kPostFactor<Format>;
        if (gated)
          put_gated(job, first + t, p * kPanelRows, sum, sums[1][t] * kPostFactor<Format>);
        else
          put(job, first + t, p * kPanelRows, sum);
      }
    }
  _tile_release();
}

}  // namespace retort::kernels_amx_int8

namespace retort {

KernelSet avx512_bf16_kernels();

namespace {

using namespace kernels_amx_int8;

template <class Format>
void multiply_integers_or_tiles(const PanelJob& job) {
  static const auto few_rows = avx512_bf16_kernels().multiply[static_cast<std::size_t>(Format::kFormat)];
  if (job.n < kFewestRows)
    few_rows(job);
  else
    multiply_tiles<Format>(job);
}

template <class... Formats>
void fill_tiles(KernelSet& set) {
  ((set.multiply[static_cast<std::size_t>(Formats::kFormat)] = multiply_integers_or_tiles<Formats>), ...);
}

}  // namespace

KernelSet amx_int8_kernels() {
  KernelSet set = avx512_bf16_kernels();
  set.name = "amx_int8";
  set.summary = "AVX-512, VNNI, BF16, AMX-INT8";
  fill_tiles<U8, U8Min, U4, U4Min, K4, K5, K6>(set);
  return set;
}

}  // namespace retort
