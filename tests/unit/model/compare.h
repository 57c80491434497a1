// Two ways to compute the same thing: values and gradients side by side.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <vector>

namespace retort {

using Tensors = std::vector<at::Tensor>;
using TensorFunction = std::function<at::Tensor(const Tensors&)>;

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

struct ValueAndGradients {
  at::Tensor value;
  Tensors gradients;
};

// Gradients of Σ value · direction for a fixed pseudo-random direction.
inline ValueAndGradients differentiate(const TensorFunction& function, const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_());
  const at::Tensor value = function(leaves);
  at::manual_seed(7);
  const at::Tensor direction = at::randn(value.sizes()).to(value.scalar_type());
  return {value.detach(), torch::autograd::grad({value}, leaves, {direction})};
}

inline void expect_same(const TensorFunction& fast, const TensorFunction& reference, const Tensors& inputs,
                        double tolerance) {
  const ValueAndGradients a = differentiate(fast, inputs), b = differentiate(reference, inputs);
  EXPECT_LE(largest_difference(a.value, b.value), tolerance * (1 + b.value.abs().max().item<double>()));
  for (std::size_t i = 0; i < inputs.size(); ++i)
    EXPECT_LE(largest_difference(a.gradients[i], b.gradients[i]),
              tolerance * (1 + b.gradients[i].abs().max().item<double>()))
        << "gradient of input " << i;
}

}  // namespace retort
