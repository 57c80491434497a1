// 32 weights: one power of two (E8M0), 32 nibbles that are FP4 numbers (E2M1). OCP Microscaling Formats 1.0.
// ggml's table holds twice the numbers and so takes half the power.
#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encodings/encoding.h"
#include "formats/encodings/importance.h"
#include "formats/encodings/nibbles.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 17;
constexpr std::array<float, 16> kValues = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(exponent - 128)
float half_power(int exponent) {
  const auto bits = static_cast<std::uint32_t>(exponent);
  return __builtin_bit_cast(float, exponent < 2 ? 0x00200000u << bits : (bits - 1) << 23);
}

int nearest(float x) {
  const float magnitude = std::fabs(x);
  int code = 0;
  while (code < 7 &&
         magnitude >
             (kValues[static_cast<std::size_t>(code)] + kValues[static_cast<std::size_t>(code) + 1]) / 2)
    ++code;
  return x < 0 && code > 0 ? code + 8 : code;
}

float block_error(std::span<const float> x, std::span<const float> weights, int exponent) {
  const float d = half_power(exponent);  // perhaps subnormal: its inverse would be infinite
  float error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float off = x[i] - d * kValues[static_cast<std::size_t>(nearest(x[i] / d))];
    error += weights[i] * off * off;
  }
  return error;
}

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, out += kBytes) {
    const auto x = values.subspan(at, kNibbleBlock);
    const auto weights = importance_of(importance, at, kNibbleBlock);
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    // The power whose largest number, 6, is nearest to the largest value; its neighbours may fit the rest
    // better.
    int first = 0;
    if (largest > 0) first = std::clamp(std::ilogb(largest) - 2 + 127, 0, 254);
    int exponent = first;
    float best = block_error(x, weights, first);
    for (const int other : {first - 1, first + 1}) {
      if (largest == 0 || other < 0 || other > 254) continue;
      const float error = block_error(x, weights, other);
      if (error < best) best = error, exponent = other;
    }
    const float d = half_power(exponent);
    for (std::size_t i = 0; i < kNibbleBlock; ++i) codes[i] = nearest(x[i] / d);
    store_u8(out, exponent);
    store_nibbles(out + 1, codes);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, in += kBytes) {
    const float d = half_power(load_u8(in));
    load_nibbles(in + 1, codes);
    for (std::size_t i = 0; i < kNibbleBlock; ++i)
      values[at + i] = d * kValues[static_cast<std::size_t>(codes[i])];
  }
}

}  // namespace

extern const Encoding kMxfp4;
const Encoding kMxfp4 = {.name = "mxfp4",
                         .ggml_type = 39,
                         .block_size = kNibbleBlock,
                         .bytes_per_block = kBytes,
                         .encode = encode,
                         .decode = decode,
                         .dot_partner = "q8_0"};

}  // namespace retort
