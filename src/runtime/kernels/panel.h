// How weights lie in memory for multiplication: panels of 16 rows, cut into chunks of columns. A chunk holds
// its scales first and then the codes, four columns of all 16 rows in 64 bytes (row r in bytes 4r … 4r + 3),
// so that one byte dot instruction multiplies 16 rows by four activations. All kernel sets read the same
// panels.
//
//   format  columns  chunk, in order                                                           from
//   u8      64       scale f16 [2][16]; codes [2][8][64], value = scale · (code - 128)         q8_0 q5_0
//                                                                                              iq4_nl mxfp4
//                                                                                              i8_channel
//   u8_min  64       scale f16 [2][16], minimum f16 [2][16]; codes,                            q5_1
//                    value = scale · code + minimum
//   u4      64       scale f16 [2][16]; nibbles [2][4][64], value = scale · (code - 8)         q4_0
//   u4_min  64       scale f16 [2][16], minimum f16 [2][16]; nibbles                           q4_1
//   k4      256      d f16 [16], dmin f16 [16], scale u8 [8][16], minimum u8 [8][16]; nibbles  q4_k
//   k5      256      the same; codes [8][8][64], value = d · scale · code - dmin · minimum     q5_k
//   k6      256      d f16 [16], scale i8 [16][16], 32 unused; nibbles [8][4][64],             q6_k
//                    pairs [8][2][64], value = d · scale · (code - 32)
//   f32     64       [64][16] floats
//   f16     64       [64][16] halves
//   bf16    64       [32][16][2]
//
// Runs are 32 columns. Of 64 bytes of nibbles, vector v holds columns 4v … 4v + 3 of its run in the low
// halves and 16 more in the high ones. Of pairs, vector v holds columns 16v … 16v + 15: columns 16v + 4i
// … + 3 in bits 2i, 2i + 1. Rows and columns beyond the matrix are zero: scales 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retort {

inline constexpr std::int64_t kPanelRows = 16;
inline constexpr std::int64_t kRun = 32;
// Activation rows are padded with zeros to this many columns.
inline constexpr std::int64_t kColumnMultiple = 64;

enum class PanelFormat : std::uint8_t { u8, u8_min, u4, u4_min, k4, k5, k6, f32, f16, bf16 };
inline constexpr std::size_t kPanelFormats = 10;

struct PanelLayout {
  std::int64_t columns;  // a chunk
  std::int64_t bytes;    // a chunk; a multiple of 64
  std::int64_t codes_at;
};

constexpr PanelLayout panel_layout(PanelFormat format) {
  switch (format) {
    case PanelFormat::u8:
      return {64, 64 + 1024, 64};
    case PanelFormat::u8_min:
      return {64, 128 + 1024, 128};
    case PanelFormat::u4:
      return {64, 64 + 512, 64};
    case PanelFormat::u4_min:
      return {64, 128 + 512, 128};
    case PanelFormat::k4:
      return {256, 320 + 2048, 320};
    case PanelFormat::k5:
      return {256, 320 + 4096, 320};
    case PanelFormat::k6:
      return {256, 320 + 2048 + 1024, 320};
    case PanelFormat::f32:
      return {64, 4096, 0};
    case PanelFormat::f16:
    case PanelFormat::bf16:
      return {64, 2048, 0};
  }
  return {};
}

// 32 activations as bytes: x ≈ scale · code. What does not depend on the weights is worked out once.
struct ActivationRun {
  std::int8_t codes[32];
  float scale;
  float sum;                   // scale · Σ codes: what minima are multiplied by
  std::int32_t start;          // -128 · Σ codes: what a sum over codes with offset 128 begins with
  std::int32_t half_start[2];  // the same of 16 columns each
  std::int32_t unused[3];
};
static_assert(sizeof(ActivationRun) == 64);

}  // namespace retort
