// RMS norm and layer norm over channels, joined with the addition of a residual branch; and the norm of q and
// k heads. Statistics are fp32; the sum is rounded to the element type before it is normalized, as separate
// layers would.
#pragma once

#include <torch/torch.h>

#include <utility>

#include "model/blocks/dropout.h"

namespace retort {

struct Norm {
  at::Tensor weight;  // leaf [width]
  at::Tensor bias;    // leaf [width] of a layer norm; undefined for an RMS norm
  double eps = 1e-6;

  bool center() const { return bias.defined(); }
  void append_leaves(std::vector<at::Tensor>& leaves) const;
};

struct Residual {
  at::Tensor sum;     // [n, width] residual + dropout(branch)
  at::Tensor normed;  // [n, width]
};
// `branch` may be undefined: then sum is `residual` itself.
Residual add_norm(const at::Tensor& residual, const at::Tensor& branch, const Norm& norm,
                  const Dropout& dropout = {});

struct HeadLayout {
  std::int64_t q_heads = 0, kv_heads = 0, head_dim = 0;  // of rows [q heads | k heads | v heads] × head_dim
};
// RMS norm over head_dim on each head of q and k; v passes through.
at::Tensor head_norm(const at::Tensor& qkv, const HeadLayout& layout, const Norm& q_norm, const Norm& k_norm);

}  // namespace retort
