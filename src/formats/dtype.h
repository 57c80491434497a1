// Element types of stored tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace retort {

enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

std::size_t dtype_size(DType type);       // bytes an element
std::string_view dtype_name(DType type);  // safetensors' name: "F32", "BF16", "BOOL" …
std::optional<DType> parse_dtype(std::string_view safetensors_name);

// Single values; rounding is to nearest, ties to even, NaN stays NaN. Defined here for the speed of the loops
// that use them.
inline float bf16_to_float(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  return __builtin_bit_cast(float, wide);
}
inline std::uint16_t float_to_bf16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_f16(float value);

}  // namespace retort
