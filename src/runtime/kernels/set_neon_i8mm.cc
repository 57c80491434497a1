// The kernels for Arm's NEON with products of unsigned by signed bytes, as dots and as matrices (Armv8.6,
// FEAT_I8MM). Everything here is in the set's namespace and stays there (see lanes.inc).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_neon_i8mm {

#include "runtime/kernels/lanes_neon.inc"

inline constexpr bool kJustified = true;
template <int kBits>
inline Ints dot(Ints sums, Codes w, Ints a) {
  return (Ints)vusdotq_s32((int32x4_t)sums, (uint8x16_t)w, (int8x16_t)a);
}
template <int kBits>
inline Ints first_sum(std::int32_t start) {
  return Ints{} + start;
}

#define RETORT_DOTS_I8MM
#include "runtime/kernels/kernels.inc"

}  // namespace retort::kernels_neon_i8mm

namespace retort {

KernelSet neon_i8mm_kernels() {
  KernelSet set = kernels_neon_i8mm::make_set();
  set.name = "neon_i8mm";
  set.summary = "NEON, I8MM";
  return set;
}

}  // namespace retort
