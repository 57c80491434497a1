// Reading and writing the fields of a block, which may lie at any address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "formats/dtype.h"

namespace retort {

inline float load_half(const std::byte* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return f16_to_float(bits);
}
inline void store_half(std::byte* at, float value) {
  const std::uint16_t bits = float_to_f16(value);
  std::memcpy(at, &bits, sizeof bits);
}
inline float rounded_to_half(float value) { return f16_to_float(float_to_f16(value)); }

inline int load_u8(const std::byte* at) { return static_cast<int>(*at); }
inline void store_u8(std::byte* at, int value) { *at = static_cast<std::byte>(value); }

// 1 / d, and 0 where d is so small that half precision keeps nothing of it.
inline float inverse_or_zero(float d) {
  const float inverse = 1.0f / d;
  return d == 0 || inverse - inverse != 0 ? 0.0f : inverse;
}

}  // namespace retort
