// The four matrix products of a language model's head, for a chunk of C rows. Hidden states and weights share
// one dtype.
#pragma once

#include <torch/torch.h>

namespace retort {

// What logits come out as: fp32 where the backend multiplies low precision into fp32, else the weights'
// dtype.
at::ScalarType logits_dtype(const at::Tensor& head);

// logits [C, V] = rows [C, H] · headᵀ [H, V]
void project(const at::Tensor& rows, const at::Tensor& head, at::Tensor& logits);
// [C, H] = gradient [C, V] · head [V, H]
at::Tensor rows_gradient(const at::Tensor& gradient, const at::Tensor& head);
// sum [V, H] (fp32) += gradientᵀ [V, C] · rows [C, H]
void add_head_gradient(const at::Tensor& gradient, const at::Tensor& rows, at::Tensor& sum);

}  // namespace retort
