// The kernels for processors with AVX512-BF16.
#include "model/kernels/cpu_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace retort::avx512_bf16 {
inline constexpr int kLanes = 16;
#include "model/kernels/cpu_kernels.inc"
}  // namespace retort::avx512_bf16
#endif
