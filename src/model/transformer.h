// The parts of a CausalLM, as tensors: what the paper's figure shows.
#pragma once

#include <map>

#include "model/blocks/block.h"
#include "model/causal_lm.h"

namespace retort {

struct CausalLM::Impl {
  // Parts with uninitialized weights.
  Impl(ModelConfig config, at::Device device, at::ScalarType dtype, const FrozenBase& base = {});

  ModelConfig config;
  at::TensorOptions options;
  at::Tensor embed_tokens;     // [V, H]
  at::Tensor embed_positions;  // [max_position_embeddings, H]; undefined with rotary positions
  at::Tensor frequencies;      // fp32 [head_dim / 2]; undefined with learned positions
  std::vector<Block> blocks;
  Norm norm;
  at::Tensor head;  // [V, H]; embed_tokens when tied
  std::vector<Parameter> parameters;

  // [n, H] at the entrance of the first block.
  at::Tensor embed_rows(const at::Tensor& tokens, const at::Tensor& positions) const;
  // The group of projections that holds a canonical weight, and its first row there.
  std::pair<Linear*, std::int64_t> find_linear(const std::string& name);
  std::uint32_t adapter_count = 0;
  std::vector<at::Tensor> prefix;  // per layer [P, 2 · kv_heads · head_dim]; empty: none
  std::int64_t prefix_length() const { return prefix.empty() ? 0 : prefix.front().size(0); }
  void check_batch(const DeviceBatch& batch) const;

 private:
  Norm make_norm(const std::string& name, std::int64_t width, bool layer_norm);
  Linear make_linear(const std::string& prefix, const std::vector<std::string>& names,
                     const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias);
  Block make_block(int index);
  std::map<std::string, at::Tensor> named_;
  FrozenBase base_;
};

}  // namespace retort
