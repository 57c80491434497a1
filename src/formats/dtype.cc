#include "formats/dtype.h"

#include <array>

namespace retort {
namespace {

struct Row {
  std::size_t size;
  std::string_view name;
};

// In DType's order.
constexpr std::array<Row, 10> kRows = {{{8, "F64"},
                                        {4, "F32"},
                                        {2, "F16"},
                                        {2, "BF16"},
                                        {8, "I64"},
                                        {4, "I32"},
                                        {2, "I16"},
                                        {1, "I8"},
                                        {1, "U8"},
                                        {1, "BOOL"}}};
static_assert(static_cast<std::size_t>(DType::boolean) + 1 == kRows.size());

const Row& row_of(DType type) { return kRows[static_cast<std::size_t>(type)]; }

}  // namespace

std::size_t dtype_size(DType type) { return row_of(type).size; }

std::string_view dtype_name(DType type) { return row_of(type).name; }

std::optional<DType> parse_dtype(std::string_view safetensors_name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == safetensors_name) return static_cast<DType>(i);
  return std::nullopt;
}

float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  std::uint32_t wide;
  if (magnitude >= 0x7c00) {
    wide = 0x7f800000 | (magnitude & 0x3ff) << 13;  // infinity, NaN with its payload
  } else if (magnitude >= 0x0400) {
    wide = (magnitude << 13) + ((127 - 15) << 23);
  } else {
    // Subnormal: exact in fp32.
    wide = __builtin_bit_cast(std::uint32_t, static_cast<float>(magnitude) * 0x1p-24f);
  }
  return __builtin_bit_cast(float, sign | wide);
}

std::uint16_t float_to_f16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  // 65520 and up round to infinity.
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {
    // Below 2^-14: adding 0.5 puts the last place of a half subnormal (2^-24) at the last place of the sum,
    // so that the addition itself rounds to nearest even.
    const float sum = __builtin_bit_cast(float, magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (__builtin_bit_cast(std::uint32_t, sum) - 0x3f000000));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | (rounded - ((127 - 15) << 23)) >> 13);
}

}  // namespace retort
