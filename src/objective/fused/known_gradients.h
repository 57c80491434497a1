// A value whose gradients were found together with it, as a node of the graph.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace retort {

// total (0-dim, without a graph) as a function of `inputs`. backward() hands out `gradients` times the outer
// factor, once: a second pass is an Error. A gradient may be undefined; one of another dtype than its input
// is cast by autograd.
at::Tensor with_known_gradients(const at::Tensor& total, const std::vector<at::Tensor>& inputs,
                                std::vector<at::Tensor> gradients);

}  // namespace retort
