// y = x Wᵀ + b for one projection, or for several that read the same input (q, k, v; gate, up) in one matrix
// product. The weights of a group lie in one buffer, row after row; each projection's own parameter is a leaf
// that shares its rows, so that optimizers and files see q_proj, k_proj, v_proj and the product sees one
// matrix.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "model/blocks/dropout.h"
#include "model/blocks/encoded_weight.h"

namespace retort {

class Linear;

// What an adapter makes of some of a layer's outputs, from outside: the layer knows no adapter by name.
class LinearAdapter {
 public:
  virtual ~LinearAdapter() = default;
  // y = the layer's output [n, Σ out_features], which may be written into.
  virtual at::Tensor apply(const at::Tensor& x, const at::Tensor& y, const Linear& base,
                           const Dropout& pass) const = 0;
  virtual void append_leaves(std::vector<at::Tensor>& leaves) const = 0;
  // Whether others may adapt the same outputs: not if it reads y as the layer's own.
  virtual bool stacks() const = 0;
  // The outputs that it adapts.
  virtual std::int64_t row_begin() const = 0;
  virtual std::int64_t rows() const = 0;
};

class Linear {
 public:
  Linear() = default;
  // One projection per entry of `out_features`; buffers start uninitialized.
  Linear(const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias,
         const at::TensorOptions& options);
  // A frozen one whose weights stay encoded: the leaves have shapes and no values (device meta), encode()
  // fills them. `name` is the layer's, for errors.
  Linear(const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias,
         const at::TensorOptions& options, const Encoding& encoding, const std::string& name);

  // [n, in_features] -> [n, Σ out_features]
  at::Tensor operator()(const at::Tensor& x, const Dropout& pass = {}) const;

  // Adapters are applied in the order in which they came. Error when one of two on the same outputs does not
  // stack; `name` is the layer's.
  void adapt(std::shared_ptr<const LinearAdapter> adapter, const std::string& name);

  // Leaf [out_features, in_features].
  const at::Tensor& weight(std::size_t part) const { return weights_[part]; }
  const at::Tensor& bias(std::size_t part) const { return biases_[part]; }  // leaf [out_features]
  // The weights of rows [begin, …) of an encoded group.
  void encode(std::int64_t begin, std::span<const float> values, const std::string& name);
  // Rows [begin, begin + count) of the group's weight and bias, outside the graph.
  at::Tensor rows(std::int64_t begin, std::int64_t count) const;
  at::Tensor bias_rows(std::int64_t begin, std::int64_t count) const;  // undefined without bias
  std::size_t parts() const { return weights_.size(); }
  bool has_bias() const { return bias_.defined(); }
  // Appends every leaf: weights, then biases, then adapters'.
  void append_leaves(std::vector<at::Tensor>& leaves) const;

 private:
  at::Tensor weight_, bias_;                // the group's buffers
  std::shared_ptr<EncodedWeight> encoded_;  // instead of weight_
  std::vector<at::Tensor> weights_, biases_;
  std::vector<std::shared_ptr<const LinearAdapter>> adapters_;

  at::Tensor product(const at::Tensor& x) const;
};

}  // namespace retort
