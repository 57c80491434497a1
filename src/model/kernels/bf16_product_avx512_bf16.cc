// Tiles of 6 rows × 64 columns in 24 registers. vdpbf16ps multiplies pairs: b is packed into panels of 64
// columns with the two values of a pair side by side, a's pairs are broadcast one at a time. a is read where
// it lies when its rows are contiguous, else packed by blocks that fit the second cache, like the panel that
// is being multiplied.
#include "model/kernels/bf16_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace retort {
namespace {

constexpr std::int64_t kBlockTiles = 16;  // 96 rows of a share a panel while it is near
constexpr std::int64_t kDepth = 2048;     // of a pass: sums of more are kept in fp32
constexpr std::int64_t kVectors = kBf16Columns / 16;

std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

std::uint32_t pair(const std::uint16_t* at, std::int64_t stride) {
  return at[0] | static_cast<std::uint32_t>(at[stride]) << 16;
}

// 16 rows of 16 32-bit values become 16 columns.
void transpose_16x16(const std::uint16_t* from, std::int64_t row, std::uint16_t* to, std::int64_t ld) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * row);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_si512(to + i * ld, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_si512(to + (i + 4) * ld, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_storeu_si512(to + (i + 8) * ld, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    _mm512_storeu_si512(to + (i + 12) * ld, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
  }
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
        transpose_16x16(from + packed * p.b.column + i, p.b.column, panel + i * kBf16Columns + 2 * packed,
                        2 * kBf16Columns);
  } else if (p.b.column == 1) {
    const __m512i low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0),
                  high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for (; packed + 32 <= width; packed += 32)
      for (std::int64_t i = 0; i < p.k; i += 2) {
        const __m512i even = _mm512_loadu_si512(from + i * p.b.row + packed),
                      odd = _mm512_loadu_si512(from + (i + 1) * p.b.row + packed);
        const __m512i first_halves = _mm512_unpacklo_epi16(even, odd),
                      second_halves = _mm512_unpackhi_epi16(even, odd);
        std::uint16_t* const to = panel + i * kBf16Columns + 2 * packed;
        _mm512_storeu_si512(to, _mm512_permutex2var_epi64(first_halves, low, second_halves));
        _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi64(first_halves, high, second_halves));
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

// Sums of one tile, in registers, from `start` on. Pair q of row r of a is at a + r · row + q · step.
template <int kRows>
inline void tile(std::int64_t pairs, const std::uint16_t* a, std::int64_t row, std::int64_t step,
                 const std::uint16_t* panel, const float* start, std::int64_t start_ld, float* out,
                 std::int64_t ld) {
  __m512 total[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_loadu_ps(start + r * start_ld + 16 * v);
  for (std::int64_t q = 0; q < pairs; ++q) {
    __m512bh right[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      right[v] = (__m512bh)_mm512_loadu_si512(panel + (q * kVectors + v) * 32);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      std::int32_t both;
      __builtin_memcpy(&both, a + r * row + q * step, sizeof both);
      const __m512bh left = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_dpbf16_ps(total[r][v], left, right[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(out + r * ld + 16 * v, total[r][v]);
}

void tile_of(std::int64_t rows, std::int64_t pairs, const std::uint16_t* a, std::int64_t row,
             std::int64_t step, const std::uint16_t* panel, const float* start, std::int64_t start_ld,
             float* out, std::int64_t ld) {
  switch (rows) {
    case 1:
      return tile<1>(pairs, a, row, step, panel, start, start_ld, out, ld);
    case 2:
      return tile<2>(pairs, a, row, step, panel, start, start_ld, out, ld);
    case 3:
      return tile<3>(pairs, a, row, step, panel, start, start_ld, out, ld);
    case 4:
      return tile<4>(pairs, a, row, step, panel, start, start_ld, out, ld);
    case 5:
      return tile<5>(pairs, a, row, step, panel, start, start_ld, out, ld);
    default:
      return tile<6>(pairs, a, row, step, panel, start, start_ld, out, ld);
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
          tile_of(height, values / 2, a, in_place ? p.a.row : 2, in_place ? 2 : 2 * kBf16Rows, panel,
                  begins ? start + column : out, begins ? 0 : sums_ld, out, sums_ld);
          if (ends) finish(p, first + row, height, column, out, sums_ld);
        }
      }
    }
  }
}

}  // namespace retort
#endif
