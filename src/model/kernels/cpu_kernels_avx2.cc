// The kernels for processors with AVX2 and FMA (x86-64-v3).
#include "model/kernels/cpu_kernels.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
namespace retort::avx2 {
inline constexpr int kLanes = 8;
#include "model/kernels/cpu_kernels.inc"
}  // namespace retort::avx2
#endif
