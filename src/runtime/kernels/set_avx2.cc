// The kernels for AVX2 with FMA and F16C: eight lanes, byte dots in pairs of 16 bits (lanes_avx2.inc).
// Everything here is in the set's namespace and stays there (see lanes.inc).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_avx2 {

#include "runtime/kernels/lanes_avx2.inc"

#include "runtime/kernels/kernels.inc"

}  // namespace retort::kernels_avx2

namespace retort {

KernelSet avx2_kernels() {
  KernelSet set = kernels_avx2::make_set();
  set.name = "avx2";
  set.summary = "AVX2, FMA, F16C";
  return set;
}

}  // namespace retort
