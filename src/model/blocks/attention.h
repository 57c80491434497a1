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

  at::Tensor operator()(const at::Tensor& x, const AttentionPath& path) const;  // [n, H] -> [n, H]
};

}  // namespace retort
