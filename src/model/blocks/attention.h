// Causal self-attention. The projections are one matter, how queries meet keys another: AttentionPath is that
// other one, with packed sequences for training and scoring (here), caches for generation
// (model/key_value_cache.h).
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <vector>

#include "model/blocks/linear.h"
#include "model/blocks/norm.h"
#include "model/blocks/rotary.h"

namespace retort {

// Where sequences lie among the rows of a batch.
struct Packing {
  std::vector<std::int64_t> starts;  // [S + 1]
  at::Tensor cu_seqlens;             // int32 [S + 1] on the device
  std::int64_t max_length = 0;
};

struct AttentionLayer {
  int index = 0;
  HeadLayout heads;
  std::int64_t window = 0;  // last keys that a query sees, itself included; 0 = all
};

class AttentionPath {
 public:
  virtual ~AttentionPath() = default;
  // Rows [q | k | v] before rotation (which may happen in place) -> [n, q_heads · head_dim].
  virtual at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const = 0;
  // Tensors beside qkv that a layer's result depends on and that may want a gradient.
  virtual void append_leaves(int layer, std::vector<at::Tensor>& leaves) const {}
};

// Fused: CPU kernels, variable-length flash attention on CUDA, one call per sequence elsewhere. No attention
// matrix is kept.
class PackedAttention : public AttentionPath {
 public:
  PackedAttention(Packing packing, Rotation rotation)
      : packing_(std::move(packing)), rotation_(std::move(rotation)) {}
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override;
  const Packing& packing() const { return packing_; }
  const Rotation& rotation() const { return rotation_; }

 private:
  Packing packing_;
  Rotation rotation_;
};

// Rows of a batch with keys and values put before every sequence.
class PrefixRows {
 public:
  // `prefix` per layer [P, 2 · kv_heads · head_dim]: keys (not to be rotated) | values.
  PrefixRows(const std::vector<at::Tensor>& prefix, const Packing& packing, const Rotation& rotation);
  const Packing& packing() const { return packing_; }  // with the prefixes
  const Rotation& rotation() const { return rotation_; }
  const std::vector<at::Tensor>& prefix() const { return prefix_; }
  at::Tensor extend(const at::Tensor& qkv, const AttentionLayer& layer) const;
  at::Tensor drop(const at::Tensor& rows) const;  // the prefixes' rows

 private:
  std::vector<at::Tensor> prefix_;
  std::vector<std::int64_t> starts_;  // without the prefixes
  Packing packing_;
  Rotation rotation_;
};

class PrefixedAttention : public AttentionPath {
 public:
  explicit PrefixedAttention(PrefixRows rows)
      : rows_(std::move(rows)), inner_(rows_.packing(), rows_.rotation()) {}
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override {
    return rows_.drop(inner_.attend(rows_.extend(qkv, layer), layer));
  }
  void append_leaves(int layer, std::vector<at::Tensor>& leaves) const override {
    leaves.push_back(rows_.prefix()[static_cast<std::size_t>(layer)]);
  }

 private:
  PrefixRows rows_;
  PackedAttention inner_;
};

// The same with probabilities computed in the open and kept: per sequence [heads, n, n], fp32,
// differentiable.
class OpenAttention : public AttentionPath {
 public:
  OpenAttention(Packing packing, Rotation rotation)
      : packing_(std::move(packing)), rotation_(std::move(rotation)) {}
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override;
  std::vector<at::Tensor> take_maps() const { return std::move(maps_); }  // of the last call

 private:
  Packing packing_;
  Rotation rotation_;
  mutable std::vector<at::Tensor> maps_;
};

// Rotates, keeps the rows, and leaves the rest to `inner`, which must not rotate.
class KeepingAttention : public AttentionPath {
 public:
  KeepingAttention(const AttentionPath& inner, Rotation rotation)
      : inner_(inner), rotation_(std::move(rotation)) {}
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override;
  at::Tensor take_rows() const { return std::move(rows_); }  // [n, (q_heads + 2 kv_heads) · head_dim]

 private:
  const AttentionPath& inner_;
  Rotation rotation_;
  mutable at::Tensor rows_;
};

struct Attention {
  Linear qkv, output;
  Norm q_norm, k_norm;  // undefined weights: none
  AttentionLayer layer;

  // [n, H] -> [n, H], or [rows, H] when only the output of some rows is wanted (undefined: all).
  at::Tensor operator()(const at::Tensor& x, const AttentionPath& path, const Dropout& pass = {},
                        const at::Tensor& wanted = {}) const;
};

}  // namespace retort
