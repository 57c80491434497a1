// down(act(gate(x)) · up(x)), or down(act(up(x))) without a gate. Gate and up are one matrix product; the
// activation is computed again in the backward pass.
#pragma once

#include "model/blocks/linear.h"
#include "model/kernels/cpu_kernels.h"

namespace retort {

struct Mlp {
  Linear expand;  // [gate | up], or up
  Linear down;
  ActivationKind activation = ActivationKind::silu;
  bool gated = true;

  at::Tensor operator()(const at::Tensor& x, const Dropout& pass = {}) const;  // [n, H] -> [n, H]
};

// [n, 2F] (gate | up) -> [n, F], or [n, F] -> [n, F] without a gate.
at::Tensor activate(const at::Tensor& x, ActivationKind kind, bool gated);

}  // namespace retort
