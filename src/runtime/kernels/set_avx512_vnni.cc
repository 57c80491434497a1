// The kernels for AVX-512 with VNNI: 16 lanes, byte dots of unsigned weights and signed activations.
// Everything here is in the set's namespace and stays there (see lanes.inc).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/attention.h"
#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_avx512 {

#include "runtime/kernels/lanes_avx512.inc"

#include "runtime/kernels/kernels.inc"

}  // namespace retort::kernels_avx512

namespace retort {

KernelSet avx512_vnni_kernels() {
  KernelSet set = kernels_avx512::make_set();
  set.name = "avx512_vnni";
  set.summary = "AVX-512, VNNI";
  return set;
}

}  // namespace retort
