// Token vectors, plus learned position vectors where a model has them.
#pragma once

#include <torch/torch.h>

namespace retort {

// Rows of `weight` [V, H] for ids [n]. The gradient of a row is summed in fp32 in the order of the positions,
// whatever the number of threads.
at::Tensor embed(const at::Tensor& weight, const at::Tensor& ids);

}  // namespace retort
