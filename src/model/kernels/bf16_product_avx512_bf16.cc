// Tiles of 6 rows × 64 columns in 24 registers. vdpbf16ps multiplies pairs: b is packed into panels of 64
// columns with the two values of a pair side by side, a's pairs are broadcast one at a time. a is read where
// it lies when its rows are contiguous, else packed by blocks that fit the second cache, like the panel that
// is being multiplied.
#include "model/kernels/bf16_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace retort {
namespace {

#include "model/kernels/bf16_tile.inc"

constexpr std::int64_t kBlockTiles = 16;  // 96 rows of a share a panel while it is near
constexpr std::int64_t kDepth = 2048;     // of a pass: sums of more are kept in fp32
constexpr std::int64_t kPrefetch = 16;    // values ahead, of rows that no processor would fetch by itself
constexpr std::int64_t kVectors = kBf16Columns / 16;

std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

std::uint32_t pair(const std::uint16_t* at, std::int64_t stride) {
  return at[0] | static_cast<std::uint32_t>(at[stride]) << 16;
}

// Panel [k / 2, 64, 2] of columns [first, first + 64); columns past the last are 0.
void pack_panel(const Bf16Product& p, std::int64_t first) {
  std::uint16_t* const panel = p.panels + first * p.k;
  const std::int64_t width = smaller(kBf16Columns, p.n - first);
  const std::uint16_t* const from = p.b.data + first * p.b.column;
  std::int64_t packed = 0;  // columns that vectors took
  if (p.b.row == 1 && p.k % 32 == 0) {
    for (; packed + 16 <= width; packed += 16)
      for (std::int64_t i = 0; i < p.k; i += 32)
        transpose_pairs(from + packed * p.b.column + i, p.b.column, 16, 16,
                        panel + i * kBf16Columns + 2 * packed, 2 * kBf16Columns);
  } else if (p.b.column == 1) {
    for (; packed + 32 <= width; packed += 32)
      for (std::int64_t i = 0; i < p.k; i += 2) {
        const std::uint16_t* const even = from + i * p.b.row + packed;
        interleave(_mm512_loadu_si512(even), _mm512_loadu_si512(even + p.b.row),
                   panel + i * kBf16Columns + 2 * packed);
      }
  }
  for (std::int64_t i = 0; i < p.k; i += 2)
    for (std::int64_t j = packed; j < kBf16Columns; ++j) {
      const std::uint32_t both = j < width ? pair(from + i * p.b.row + j * p.b.column, p.b.row) : 0;
      __builtin_memcpy(panel + i * kBf16Columns + 2 * j, &both, sizeof both);
    }
}

// Rows [first, first + rows) of a, values [begin, end), as [tiles][(end - begin) / 2][6] pairs; rows past the
// last are 0. Values outermost: they are a whole row of memory apart.
void pack_rows(const Bf16Product& p, std::int64_t first, std::int64_t rows, std::int64_t begin,
               std::int64_t end, std::uint16_t* out) {
  const __mmask8 six = 0x3f;
  for (std::int64_t q = begin; q < end; q += 2, out += 2 * kBf16Rows)
    for (std::int64_t i = 0; i < rows; i += kBf16Rows) {
      const std::int64_t height = smaller(kBf16Rows, p.m - first - i);
      const std::uint16_t *const even = p.a.data + (first + i) * p.a.row + q * p.a.column, *const odd =
                                                                                               even +
                                                                                               p.a.column;
      std::uint16_t* const to = out + i * (end - begin);
      if (height == kBf16Rows && p.a.row == 1) {
        _mm_prefetch(even + kPrefetch * p.a.column, _MM_HINT_T0);
        _mm_prefetch(odd + kPrefetch * p.a.column, _MM_HINT_T0);
        const __m128i low = _mm_maskz_loadu_epi16(six, even), high = _mm_maskz_loadu_epi16(six, odd);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(low, high));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 8), _mm_unpackhi_epi16(low, high));
      } else {
        for (std::int64_t r = 0; r < kBf16Rows; ++r) {
          to[2 * r] = r < height ? even[r * p.a.row] : 0;
          to[2 * r + 1] = r < height ? odd[r * p.a.row] : 0;
        }
      }
    }
}

// A finished tile goes where it belongs: rounded into c, or added to the sum.
void finish(const Bf16Product& p, std::int64_t row, std::int64_t rows, std::int64_t column, const float* sums,
            std::int64_t ld) {
  const std::int64_t width = smaller(kBf16Columns, p.n - column);
  for (std::int64_t r = 0; r < rows; ++r, sums += ld) {
    const std::int64_t at = (row + r) * p.ld + column;
    if (p.c && width == kBf16Columns) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.c + at + 16 * v),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(sums + 16 * v)));
      continue;
    }
    for (std::int64_t j = 0; j < width; j += 16) {
      const auto lanes = static_cast<__mmask16>(width - j >= 16 ? 0xffff : (1 << (width - j)) - 1);
      const __m512 value = _mm512_loadu_ps(sums + j);
      if (p.sum)
        _mm512_mask_storeu_ps(p.sum + at + j, lanes,
                              _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, p.sum + at + j), value));
      else
        _mm256_mask_storeu_epi16(p.c + at + j, lanes, (__m256i)_mm512_cvtneps_pbh(value));
    }
  }
}

}  // namespace

std::int64_t bf16_scratch(std::int64_t n, std::int64_t k) {
  const std::int64_t rows = kBlockTiles * kBf16Rows, depth = smaller(k, kDepth);
  const std::int64_t sums = k > kDepth ? rows * bf16_panels(n) * kBf16Columns : kBf16Rows * kBf16Columns;
  return rows * depth / 2 + sums + bf16_panels(n) * kBf16Columns;
}

void pack_bf16_panels(const Bf16Product& product, std::int64_t begin_panel, std::int64_t end_panel) {
  for (std::int64_t i = begin_panel; i < end_panel; ++i) pack_panel(product, i * kBf16Columns);
}

void multiply_bf16(const Bf16Product& p, std::int64_t begin_tile, std::int64_t end_tile, float* scratch) {
  const std::int64_t rows_of_block = kBlockTiles * kBf16Rows, width = bf16_panels(p.n) * kBf16Columns;
  const bool in_passes = p.k > kDepth, in_place = p.a.column == 1;
  float* const start = scratch;  // [width]: the bias, or 0
  float* const sums = start + width;
  const std::int64_t sums_ld = in_passes ? width : kBf16Columns;
  auto* const packed =
      reinterpret_cast<std::uint16_t*>(sums + (in_passes ? rows_of_block * width : kBf16Rows * kBf16Columns));
  for (std::int64_t j = 0; j < width; ++j) {
    const std::uint32_t bits = p.bias && j < p.n ? static_cast<std::uint32_t>(p.bias[j]) << 16 : 0;
    __builtin_memcpy(start + j, &bits, sizeof bits);
  }
  for (std::int64_t block = begin_tile; block < end_tile; block += kBlockTiles) {
    const std::int64_t first = block * kBf16Rows;
    const std::int64_t rows = smaller(smaller(rows_of_block, (end_tile - block) * kBf16Rows), p.m - first);
    for (std::int64_t depth = 0; depth < p.k; depth += kDepth) {
      const std::int64_t values = smaller(kDepth, p.k - depth);
      const bool begins = depth == 0, ends = depth + values == p.k;
      if (!in_place) pack_rows(p, first, rows, depth, depth + values, packed);
      for (std::int64_t column = 0; column < p.n; column += kBf16Columns) {
        const std::uint16_t* const panel = p.panels + column * p.k + depth * kBf16Columns;
        for (std::int64_t row = 0; row < rows; row += kBf16Rows) {
          const std::int64_t height = smaller(kBf16Rows, rows - row);
          const std::uint16_t* const a =
              in_place ? p.a.data + (first + row) * p.a.row + depth : packed + row * values;
          float* const out = in_passes ? sums + row * width + column : sums;
          tile_of<kVectors>(height, values / 2, a, in_place ? p.a.row : 2, in_place ? 2 : 2 * kBf16Rows,
                            panel, 2 * kBf16Columns, begins ? start + column : out, begins ? 0 : sums_ld, out,
                            sums_ld);
          if (ends) finish(p, first + row, height, column, out, sums_ld);
        }
      }
    }
  }
}

}  // namespace retort
#endif
