// The portable set, compiled for the compiler's baseline (SSE2, NEON), and the choice among the sets.
#include "objective/fused/row_kernels_impl.h"

namespace retort {

#ifdef __x86_64__
extern const RowKernels kRowKernelsAvx512;
extern const RowKernels kRowKernelsAvx2;
#endif

namespace {

const RowKernels kPortable = {"portable", log_sum_exp, add_softmax, forward_kl, reverse_kl, mixture};

}  // namespace

std::vector<const RowKernels*> supported_row_kernels() {
  std::vector<const RowKernels*> sets;
#ifdef __x86_64__
  const bool fma = __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
  if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back(&kRowKernelsAvx512);
  if (fma) sets.push_back(&kRowKernelsAvx2);
#endif
  sets.push_back(&kPortable);
  return sets;
}

const RowKernels& row_kernels() {
  static const RowKernels& best = *supported_row_kernels().front();
  return best;
}

}  // namespace retort
