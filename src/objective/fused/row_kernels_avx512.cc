#include "objective/fused/row_kernels_impl.h"

namespace retort {
extern const RowKernels kRowKernelsAvx512;
const RowKernels kRowKernelsAvx512 = {"avx512", log_sum_exp, add_softmax, forward_kl, reverse_kl, mixture};
}  // namespace retort
