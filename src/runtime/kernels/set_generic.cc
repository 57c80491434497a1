// The kernels for any processor: four lanes in the compiler's vectors, and what instructions are lacking in
// plain loops.
#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_generic {

inline constexpr int kLanes = 4, kTileRows = 4, kTileVectors = 2;
inline constexpr bool kJustified = false;
inline constexpr std::int64_t kReadAhead = 2048;

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef std::uint8_t Codes __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Shorts __attribute__((vector_size(kLanes * 4)));

inline Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }

inline float sum(Floats v) { return (v[0] + v[1]) + (v[2] + v[3]); }
inline std::int32_t sum(Ints v) { return v[0] + v[1] + v[2] + v[3]; }
inline float largest(Floats v) {
  const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}

inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
  // Shifted into place the exponent is 112 too small; the product mends that and makes subnormals normal.
  if (rest < 0x7c00)
    return __builtin_bit_cast(
        float, sign | __builtin_bit_cast(std::uint32_t, __builtin_bit_cast(float, rest << 13) * 0x1p112f));
  return __builtin_bit_cast(float, sign | 0x7f800000u | rest << 13);
}
inline float one_half(const std::byte* p) {
  std::uint16_t half;
  __builtin_memcpy(&half, p, sizeof half);
  return half_to_float(half);
}
inline Floats load_halves(const std::byte* p) {
  Floats v;
  for (int i = 0; i < kLanes; ++i) v[i] = one_half(p + 2 * i);
  return v;
}
// To nearest, ties to even.
inline std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  std::uint32_t half;
  if (rest > 0x7f800000u)
    half = 0x7e00;
  else if (rest >= 0x477ff000u)
    half = 0x7c00;
  else if (rest < 0x38800000u)  // subnormal: adding 0.5 leaves the rounded digits at the low end
    half = __builtin_bit_cast(std::uint32_t, __builtin_bit_cast(float, rest) + 0.5f) - 0x3f000000u;
  else
    half = (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13;
  return static_cast<std::uint16_t>(sign | half);
}
inline void store_halves(std::uint16_t* p, Floats v) {
  for (int i = 0; i < kLanes; ++i) p[i] = float_to_half(v[i]);
}

inline Ints load_bytes(const std::byte* p) {
  Ints v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<std::uint8_t>(p[i]);
  return v;
}
inline Ints load_signed_bytes(const std::byte* p) {
  Ints v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<std::int8_t>(p[i]);
  return v;
}
inline void store_bytes(std::int8_t* p, Ints v) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(v[i]);
}
// |x| ≤ 127.5 or not a number, which gives 0.
inline Ints to_nearest(Floats x) {
  x = x == x ? x : Floats{};
  const Floats magic = Floats{} + 12582912.f;
  return (Ints)(x + magic) - 0x4b400000;
}

// Four unsigned codes a lane times the four signed bytes of `a`.
template <int kBits>
inline Ints dot(Ints sums, Codes w, Ints a) {
  const std::uint32_t four = static_cast<std::uint32_t>(a[0]);
  for (int byte = 0; byte < 4; ++byte) {
    const std::int32_t factor = static_cast<std::int8_t>(four >> 8 * byte);
    sums += ((Ints)w >> 8 * byte & 255) * factor;
  }
  return sums;
}
// The start of a sum of codes that are not shifted to the top: their offset is 2^(kBits - 1).
template <int kBits>
inline Ints first_sum(std::int32_t start) {
  return Ints{} + (start >> (8 - kBits));
}

#include "runtime/kernels/kernels.inc"

}  // namespace retort::kernels_generic

namespace retort {

KernelSet generic_kernels() {
  KernelSet set = kernels_generic::make_set();
  set.name = "generic";
  set.summary = "any processor";
  return set;
}

}  // namespace retort
