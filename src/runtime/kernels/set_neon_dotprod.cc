// The kernels for Arm's NEON with dot products of signed bytes (Armv8.2, FEAT_DotProd). Everything here is in
// the set's namespace and stays there (see lanes.inc).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_neon_dotprod {

#include "runtime/kernels/lanes_neon.inc"

// Codes of at most six bits are signed bytes as they are; those of eight become so by their top bit.
inline constexpr bool kJustified = false;
template <int kBits>
inline Ints dot(Ints sums, Codes w, Ints a) {
  if constexpr (kBits == 8) w ^= 0x80;
  return (Ints)vdotq_s32((int32x4_t)sums, (int8x16_t)w, (int8x16_t)a);
}
template <int kBits>
inline Ints first_sum(std::int32_t start) {
  if constexpr (kBits == 8) return Ints{};
  return Ints{} + (start >> (8 - kBits));
}

#include "runtime/kernels/kernels.inc"

}  // namespace retort::kernels_neon_dotprod

namespace retort {

KernelSet neon_dotprod_kernels() {
  KernelSet set = kernels_neon_dotprod::make_set();
  set.name = "neon_dotprod";
  set.summary = "NEON, DotProd";
  return set;
}

}  // namespace retort
