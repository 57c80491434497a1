#include "formats/encodings/f8_channel.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encodings/encoding.h"
#include "formats/encodings/row_magnitude.h"

namespace retort {
namespace {

constexpr std::uint8_t kLargestCode = 0x7e, kSign = 0x80;  // 0x7f is not a number
constexpr float kLargest = 448;

float magnitude_of(int code) {
  const int exponent = code >> 3, fraction = code & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                       : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}

// By code, without the sign: ascending.
const std::array<float, kLargestCode + 1>& magnitudes() {
  static const auto table = [] {
    std::array<float, kLargestCode + 1> values{};
    for (int code = 0; code <= kLargestCode; ++code)
      values[static_cast<std::size_t>(code)] = magnitude_of(code);
    return values;
  }();
  return table;
}

float value_of(std::uint8_t code) {
  const std::size_t bare = code & 0x7f;
  if (bare > kLargestCode) return std::nanf("");
  return (code & kSign) != 0 ? -magnitudes()[bare] : magnitudes()[bare];
}

void decode(const std::byte* blocks, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_of(static_cast<std::uint8_t>(blocks[i]));
}

}  // namespace

const Encoding kF8Channel = {.name = "f8_channel", .bytes_per_block = 1, .decode = decode};

std::uint8_t f8_code(float value) {
  const float magnitude = std::min(std::fabs(value), kLargest);
  const auto& table = magnitudes();
  const auto above =
      static_cast<std::size_t>(std::lower_bound(table.begin(), table.end(), magnitude) - table.begin());
  std::size_t code = above;
  if (above > 0) {
    const float up = table[above] - magnitude, down = magnitude - table[above - 1];
    if (down < up || (down == up && above % 2 == 1)) code = above - 1;
  }
  return static_cast<std::uint8_t>(code | (std::signbit(value) ? kSign : 0));
}

void encode_f8_rows(std::span<const float> values, std::int64_t columns, std::span<std::uint8_t> codes,
                    std::span<float> scales, const std::string& where) {
  const auto width = static_cast<std::size_t>(columns);
  for (std::size_t row = 0; row < scales.size(); ++row) {
    const auto x = values.subspan(row * width, width);
    const float largest = largest_magnitude(x, where);
    const float scale = largest / kLargest, inverse = 1 / scale;
    scales[row] = scale;
    const bool tiny = !std::isfinite(inverse);  // all zeros, or as good as
    for (std::size_t i = 0; i < width; ++i) codes[row * width + i] = tiny ? 0 : f8_code(x[i] * inverse);
  }
}

}  // namespace retort
