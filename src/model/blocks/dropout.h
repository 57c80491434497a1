// Dropout whose mask is a function of (key, branch, row, channel): the same for any number of threads, and
// computed again in the backward pass instead of kept.
#pragma once

#include <torch/torch.h>

#include "model/kernels/cpu_kernels.h"

namespace retort {

struct Dropout {
  double probability = 0;
  std::uint64_t key = 0;     // of the micro-batch
  std::uint32_t stream = 0;  // which branch of which layer
  bool training = false;     // adapters with a dropout of their own apply it

  bool on() const { return probability > 0; }
  Dropout branch(std::uint32_t number) const { return {probability, key, number, training}; }
};

DropoutMask cpu_mask(const Dropout& dropout);
// Factors 0 or 1 / (1 - p) in the shape of x, drawn by ATen from a generator seeded with the key: for devices
// without kernels.
at::Tensor aten_mask(const at::Tensor& x, const Dropout& dropout);

at::Tensor apply_dropout(const at::Tensor& x, const Dropout& dropout);

}  // namespace retort
