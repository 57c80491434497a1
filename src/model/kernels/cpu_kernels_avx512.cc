// The kernels for processors with AVX-512 (x86-64-v4).
#include "model/kernels/cpu_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
namespace retort::avx512 {
inline constexpr int kLanes = 16;
#include "model/kernels/cpu_kernels.inc"
}  // namespace retort::avx512
#endif
