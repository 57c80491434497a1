// Keys and values of past tokens for sequences that are generated together. A sequence owns a slot; slots in
// use are always the first ones, so that a step is one dense product.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "architecture/model_config.h"
#include "model/blocks/attention.h"

namespace retort {

class KeyValueCache {
 public:
  KeyValueCache(const ModelConfig& config, std::int64_t slots, const at::TensorOptions& options);

  std::int64_t slots() const { return slots_; }
  std::int64_t size() const { return static_cast<std::int64_t>(lengths_.size()); }  // slots in use
  const std::vector<std::int64_t>& lengths() const { return lengths_; }             // tokens per slot in use

  // Takes new slots behind those in use, for sequences whose keys the next prefill pass will bring.
  void add(const std::vector<std::int64_t>& lengths);
  // Makes room for one more token in every slot and counts it.
  void extend();
  // Frees slots, ascending. Sequences at the end move into the gaps: slot i then holds what result[i] held.
  std::vector<std::int64_t> remove(const std::vector<std::int64_t>& slots);

 private:
  friend class PrefillAttention;
  friend class DecodeAttention;
  void reserve(std::int64_t length);

  std::int64_t slots_, capacity_ = 0, limit_;
  std::vector<std::int64_t> lengths_;
  std::vector<at::Tensor> keys_, values_;  // per layer [slots, kv_heads, capacity, head_dim]
};

// Packed prompts into slots [first_slot, …): attention within each, keys and values kept.
class PrefillAttention : public AttentionPath {
 public:
  // `rows`: sequences behind a prefix, whose keys and values are kept with theirs.
  PrefillAttention(KeyValueCache& cache, std::int64_t first_slot, PrefixRows rows)
      : cache_(cache),
        first_slot_(first_slot),
        rotation_(rows.rotation()),
        packed_(rows.packing(), {}),
        rows_(std::move(rows)) {
    find_places();
  }
  PrefillAttention(KeyValueCache& cache, std::int64_t first_slot, Packing packing, Rotation rotation)
      : cache_(cache),
        first_slot_(first_slot),
        rotation_(std::move(rotation)),
        packed_(std::move(packing), {}) {
    find_places();
  }
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override;

 private:
  void find_places();

  KeyValueCache& cache_;
  std::int64_t first_slot_;
  at::Tensor slots_, places_;  // int64 [n] on a GPU: where each row goes
  Rotation rotation_;
  PackedAttention packed_;
  std::optional<PrefixRows> rows_;
};

// One new token in every slot in use, against all that came before it.
class DecodeAttention : public AttentionPath {
 public:
  // After cache.extend().
  DecodeAttention(KeyValueCache& cache, Rotation rotation);
  at::Tensor attend(const at::Tensor& qkv, const AttentionLayer& layer) const override;

 private:
  KeyValueCache& cache_;
  Rotation rotation_;
  at::Tensor rows_, places_;  // where each slot's new token goes
};

}  // namespace retort
