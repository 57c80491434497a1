// y = x Wᵀ + b for one projection, or for several that read the same input (q, k, v; gate, up) in one matrix
// product. The weights of a group lie in one buffer, row after row; each projection's own parameter is a leaf
// that shares its rows, so that optimizers and files see q_proj, k_proj, v_proj and the product sees one
// matrix.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

namespace retort {

class Linear {
 public:
  Linear() = default;
  // One projection per entry of `out_features`; buffers start uninitialized.
  Linear(const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias,
         const at::TensorOptions& options);

  // [n, in_features] -> [n, Σ out_features]
  at::Tensor operator()(const at::Tensor& x) const;

  const at::Tensor& weight(std::size_t part) const {
    return weights_[part];
  }  // leaf [out_features, in_features]
  const at::Tensor& bias(std::size_t part) const { return biases_[part]; }  // leaf [out_features]
  bool has_bias() const { return bias_.defined(); }
  // Appends every leaf: weights, then biases.
  void append_leaves(std::vector<at::Tensor>& leaves) const;

 private:
  at::Tensor weight_, bias_;  // the group's buffers
  std::vector<at::Tensor> weights_, biases_;
};

}  // namespace retort
