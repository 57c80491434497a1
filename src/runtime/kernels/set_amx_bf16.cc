// AVX-512 with AMX-BF16: the kernels of set_avx512_bf16.cc, and products and attention of prompts by tiles
// (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18): 32 activation rows by
// 32 weight rows, both rounded to bf16, four tiles of fp32 sums. Weights are decoded some columns at a time,
// once for kRowBlock rows, into the first cache, where the activations' part for these columns fits beside
// them. (Tiles of bytes would save the decoding, but a sum may then span no more columns than one scale:
// scaling those sums takes longer than VPDPBUSD.) Everything here is in the set's namespace and stays there
// (see lanes.inc).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_amx_bf16 {

#include "runtime/kernels/lanes_avx512.inc"

// clang-format off
#include "runtime/kernels/lanes.inc"
#include "runtime/kernels/panel_formats.inc"
#include "runtime/kernels/tile.inc"
#include "runtime/kernels/product.inc"
// clang-format on

inline constexpr Index kDepth = 256;              // columns decoded at a time
inline constexpr Index kCached = 1 << 20;         // bytes of activations that stay in the second cache
inline constexpr Index kRowBlock = kTileJobRows;  // activation rows
inline constexpr Index kTileBytes = 1024, kTileColumns = 32, kTileHeight = 16;
inline constexpr Index kPairWidth = 2 * kPanelRows;  // sums of a pair for one activation row
static_assert(kDepth % 256 == 0 && kTileColumns == kRun);

// What was written to memory so far is there: the compiler does not know that the tile instructions read it.
inline void settle() { __asm__ volatile("" : : : "memory"); }

// All tiles: 16 rows of 64 bytes.
inline void configure() {
  struct {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  static_assert(sizeof config == 64);
  settle();
  _tile_loadconfig(&config);
}

// ---- weights to bf16

// A byte that stands in the mantissa of a power of two is the float 2^15 + byte (or 2^7 + byte, where codes
// have fewer than eight bits): one permutation spreads sixteen codes so, and what is too much is taken off in
// the fma that scales them. Codes of eight rows and two columns then lie as bf16 wants them, in pairs of
// columns: bytes 4r + 2 · pair + column of the vector, for rows r from 8 · half.
struct Places {
  alignas(64) std::uint8_t at[2][2][64];  // [pair][half]
};
constexpr Places places(int byte) {
  Places p{};
  for (int pair = 0; pair < 2; ++pair)
    for (int half = 0; half < 2; ++half)
      for (int lane = 0; lane < kLanes; ++lane)
        p.at[pair][half][4 * lane + byte] =
            static_cast<std::uint8_t>(4 * (8 * half + lane / 2) + 2 * pair + lane % 2);
  return p;
}

// Values of rows 8 · half …, each twice.
inline Floats twice(Floats v, int half) {
  const __m512i rows = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return (Floats)_mm512_permutexvar_ps(_mm512_add_epi32(rows, _mm512_set1_epi32(8 * half)), (__m512)v);
}

// 32 columns of a panel: a tile [16][16][2] of pairs.
template <class Format>
inline void decode_run(const std::byte* chunk, int run, std::byte* tile) {
  constexpr bool kWhole = Format::kOffset;  // all eight bits of a byte: see kJustified
  static_assert(kWhole || Format::kBits < 8);
  constexpr int kByte = kWhole ? 1 : 2, kBase = kWhole ? 0x47000000 : 0x43000000;
  constexpr float kExcess = kWhole ? 32768 + 128 : 128;
  constexpr std::uint64_t kMask = kWhole ? 0x2222222222222222 : 0x4444444444444444;
  static constexpr Places kPlaces = places(kByte);
  constexpr int kSteps = 8 / Format::kGroups;
  const Floats minimum = Format::minimum(chunk, run, 0);
#pragma GCC unroll 2
  for (int group = 0; group < Format::kGroups; ++group) {
    const Floats scale = Format::scale(chunk, run, group, 0) * kPostFactor<Format>;
    const Floats offset = fma(scale, splat(-kExcess), minimum);
    const Floats scales[2] = {twice(scale, 0), twice(scale, 1)};
    const Floats offsets[2] = {twice(offset, 0), twice(offset, 1)};
#pragma GCC unroll 8
    for (int q = group * kSteps; q < (group + 1) * kSteps; ++q) {
      const auto codes = (__m512i)Format::codes(chunk, run, q, 0);
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        Floats values[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half)
          values[half] =
              fma((Floats)_mm512_mask_permutexvar_epi8(_mm512_set1_epi32(kBase), kMask,
                                                       _mm512_load_si512(kPlaces.at[pair][half]), codes),
                  scales[half], offsets[half]);
        _mm512_store_si512(tile + (2 * q + pair) * 64,
                           (__m512i)_mm512_cvtne2ps_pbh((__m512)values[1], (__m512)values[0]));
      }
    }
  }
}

// Into the second cache.
template <Index kBytes>
inline void ask(const std::byte* at) {
  for (Index b = 0; b < kBytes; b += 64) __builtin_prefetch(at + b, 0, 2);
}

struct Bf16 {
  static constexpr PanelFormat kFormat = PanelFormat::bf16;
};

// Tiles of columns first … first + columns - 1 of a panel. Those of bf16 are there already. What lies `ahead`
// bytes further is asked for meanwhile.
template <class Format>
inline const std::byte* tiles_of(const std::byte* panel, Index first, Index columns, Index ahead,
                                 std::byte* memory) {
  constexpr PanelLayout kLayout = panel_layout(Format::kFormat);
  const std::byte* chunk = panel + first / kLayout.columns * kLayout.bytes;
  std::byte* tile = memory;
  for (Index c = 0; c < columns; c += kLayout.columns, chunk += kLayout.bytes) {
    if constexpr (Format::kFormat == PanelFormat::bf16) {
      ask<kLayout.bytes>(chunk + ahead);
    } else {
      constexpr Index kRuns = kLayout.columns / kRun;
      for (int run = 0; run < kRuns; ++run, tile += kTileBytes) {
        ask<kLayout.bytes / kRuns>(chunk + ahead + run * (kLayout.bytes / kRuns));
        decode_run<Format>(chunk, run, tile);
      }
    }
  }
  if constexpr (Format::kFormat == PanelFormat::bf16) return panel + first / kTileColumns * kTileBytes;
  return memory;
}

// ---- products

// sums [32][32] (+)= two tiles of activation rows, `second` bytes apart, by the tiles of two panels; only the
// first 16 rows unless kTwo.
template <bool kTwo>
inline void add_products(const std::byte* x, Index second, const std::byte* const* w, Index steps, bool first,
                         float* sums) {
  constexpr Index kStride = kPairWidth * 4;
  float* lower = sums + kTileHeight * kPairWidth;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTwo) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, sums, kStride);
    _tile_loadd(1, sums + kPanelRows, kStride);
    if constexpr (kTwo) {
      _tile_loadd(2, lower, kStride);
      _tile_loadd(3, lower + kPanelRows, kStride);
    }
  }
  for (Index at = 0; at < steps * kTileBytes; at += kTileBytes) {
    _tile_loadd(4, x + at, 64);
    _tile_loadd(6, w[0] + at, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w[1] + at, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwo) {
      _tile_loadd(5, x + second + at, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kPanelRows, kStride);
  if constexpr (kTwo) {
    _tile_stored(2, lower, kStride);
    _tile_stored(3, lower + kPanelRows, kStride);
  }
}

// The two panels that are multiplied together: of the matrix, or one of the gate and its partner. The last of
// an odd number stands in for the one beyond.
struct PanelPair {
  const std::byte* panels[2];
};
inline PanelPair pair_at(const PanelJob& job, Index pair) {
  if (job.store == Store::gated) {
    const Index at = (job.first_panel + pair) * job.panel_bytes;
    return {{job.weights + at, job.up + at}};
  }
  const Index p = job.first_panel + 2 * pair, next = p + 1 < job.last_panel ? p + 1 : p;
  return {{job.weights + p * job.panel_bytes, job.weights + next * job.panel_bytes}};
}

// Sums [rows, a multiple of 32][kPairWidth] of n activation rows from `begin` on, for the pairs [first_pair,
// last_pair): `pair_sums` apart in job.scratch.
template <class Format>
inline void sum_block(const PanelJob& job, Index begin, Index n, Index first_pair, Index last_pair,
                      Index pair_sums) {
  constexpr PanelLayout kLayout = panel_layout(Format::kFormat);
  alignas(64) std::byte decoded[2][kDepth * kPanelRows * 2];
  const Index columns = job.chunks * kLayout.columns;
  const Index tile_row = columns * kTileHeight * 2;  // bytes of 16 activation rows
  const Index ahead = last_pair - first_pair > 1 ? job.panel_bytes * (job.store == Store::gated ? 1 : 2)
                                                 : kDepth / kLayout.columns * kLayout.bytes;
  for (Index first = 0; first < columns; first += kDepth) {
    const Index depth = columns - first < kDepth ? columns - first : kDepth;
    const std::byte* x = job.activations + begin / kTileHeight * tile_row + first / kTileColumns * kTileBytes;
    for (Index pair = first_pair; pair < last_pair; ++pair) {
      const PanelPair weights = pair_at(job, pair);
      const std::byte* tiles[2];
      for (int i = 0; i < 2; ++i)
        tiles[i] = tiles_of<Format>(weights.panels[i], first, depth, ahead, decoded[i]);
      settle();
      float* sums = job.scratch + pair * pair_sums;
      for (Index t = 0; t < n; t += 2 * kTileHeight) {
        const auto add = n - t > kTileHeight ? add_products<true> : add_products<false>;
        add(x + t / kTileHeight * tile_row, tile_row, tiles, depth / kTileColumns, first == 0,
            sums + t * kPairWidth);
      }
    }
  }
}

template <class Format>
void multiply_tiles(const PanelJob& job) {
  const bool gated = job.store == Store::gated;
  const Index panels = job.last_panel - job.first_panel, pairs = gated ? panels : (panels + 1) / 2;
  configure();
  for (Index begin = 0; begin < job.n; begin += kRowBlock) {
    const Index n = job.n - begin < kRowBlock ? job.n - begin : kRowBlock;
    const Index pair_sums = (n + 31) / 32 * 32 * kPairWidth;
    // Pair after pair reads weights as they lie; where the second cache does not hold all columns of the
    // activations, some of them are used for all pairs first.
    const bool whole = n * job.chunks * panel_layout(Format::kFormat).columns * 2 <= kCached;
    for (Index pair = 0, step = whole ? 1 : pairs; pair < pairs; pair += step)
      sum_block<Format>(job, begin, n, pair, pair + step, pair_sums);
    for (Index t = 0; t < n; ++t)
      for (Index pair = 0; pair < pairs; ++pair) {
        const float* sums = job.scratch + pair * pair_sums + t * kPairWidth;
        const Index row = job.out_rows[begin + t];
        if (gated) {
          put_gated(job, row, (job.first_panel + pair) * kPanelRows, load(sums), load(sums + kPanelRows));
        } else {
          const Index p = job.first_panel + 2 * pair;
          put(job, row, p * kPanelRows, load(sums));
          if (p + 1 < job.last_panel) put(job, row, (p + 1) * kPanelRows, load(sums + kPanelRows));
        }
      }
  }
  _tile_release();
}

// clang-format off
#define RETORT_ATTENTION_TILES
#include "runtime/kernels/attention.inc"
// clang-format on

template <class... Formats>
void fill_tiles(KernelSet& set) {
  ((set.multiply_tiles[static_cast<std::size_t>(Formats::kFormat)] = multiply_tiles<Formats>), ...);
}

}  // namespace retort::kernels_amx_bf16

namespace retort {

KernelSet avx512_bf16_kernels();

KernelSet amx_bf16_kernels() {
  using namespace kernels_amx_bf16;
  KernelSet set = avx512_bf16_kernels();
  set.name = "amx_bf16";
  set.summary = "AVX-512, VNNI, BF16, AMX-BF16";
  set.tiles = true;
  set.attend = attend_rows;
  fill_tiles<U8, U8Min, U4, U4Min, K4, K5, K6, Bf16>(set);
  return set;
}

}  // namespace retort
