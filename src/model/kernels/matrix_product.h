// The matrix products of training: bf16 tiles of our own where the processor multiplies bf16 by AVX-512
// alone, ATen's products everywhere else (they use AMX and GPUs well).
#pragma once

#include <torch/torch.h>

namespace retort {

// [m, n] = a [m, k] · b [k, n] (+ bias [n]), all of one dtype; sums in fp32, rounded once. Outside the graph.
at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias = {});

// The same into `out`, whose rows are contiguous.
void matrix_product_out(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

// sum [m, n] (fp32, contiguous) += a · b without rounding between; false, and nothing done, where there are
// no tiles for it.
bool add_matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum);

}  // namespace retort
