// A decoder-only transformer in LibTorch, built from a ModelConfig. It reads like the figure of the paper:
// embedding, blocks of attention and MLP, final norm. It ends at the last hidden states: the head is applied
// by the objective, chunk by chunk, or by logits() for a few positions.
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "architecture/model_folder.h"
#include "model/device_batch.h"

namespace retort {

// What a term asks a model to keep. Layers count from 0; hidden@-1 is the input embedding, hidden@i the
// output of block i.
struct Taps {
  std::vector<int> hidden;
  std::vector<int> attention;  // probabilities after the softmax, per sequence
  // Queries, keys and values as attention reads them; attention itself stays fused.
  std::vector<int> qkv = {};
  void merge(const Taps& other);
  bool empty() const { return hidden.empty() && attention.empty() && qkv.empty(); }
};

struct ModelOutput {
  at::Tensor hidden;  // after the final norm: [N, H], or [T, H] with ForwardOptions::targets_only
  bool targets_only = false;
  std::map<int, at::Tensor> hidden_taps;                  // [N, H]
  std::map<int, std::vector<at::Tensor>> attention_taps;  // per sequence [heads, n, n]
  std::map<int, at::Tensor> qkv_taps;  // [N, (q_heads + 2 kv_heads) · head_dim], q and k rotated

  // [T, H]: of the positions that have a loss.
  at::Tensor target_rows(const DeviceBatch& batch) const {
    return targets_only ? hidden : hidden.index_select(0, batch.target_index);
  }
};

struct ForwardOptions {
  bool training = false;
  double dropout = 0;  // on embedding and each residual branch
  // Changes each micro-batch; the mask is a function of (key, layer, position, channel).
  std::uint64_t dropout_key = 0;
  bool checkpoint_activations = false;  // keep only block inputs and run blocks again in the backward pass
  // The last hidden states are wanted where a loss is: after the last attention the other rows are dropped.
  bool targets_only = false;
};

struct Parameter {
  std::string name;   // canonical
  at::Tensor tensor;  // a leaf
};

// Linear layers that stay in an encoding, frozen: what adapters are trained over when memory is short.
struct FrozenBase {
  const Encoding* encoding = nullptr;  // null: none do
  // Canonical weights that do not, for they are trained; nor do their groups.
  std::vector<std::string> whole = {};
};

class CausalLM {
 public:
  // Random weights: normal(0, initializer_range) for matrices (residual outputs divided by sqrt(2 · layers)),
  // 1 for norms, 0 for biases; a function of seed and name alone.
  CausalLM(ModelConfig config, at::Device device, at::ScalarType dtype, std::uint64_t seed);
  // Weights of a folder. With a frozen base, parameters() has its linear layers' weights as shapes alone.
  CausalLM(const ModelFolder& folder, at::Device device, at::ScalarType dtype, const FrozenBase& base = {});
  ~CausalLM();
  CausalLM(CausalLM&&) noexcept;

  const ModelConfig& config() const;
  at::Device device() const;
  at::ScalarType dtype() const;

  ModelOutput forward(const DeviceBatch& batch, const Taps& taps = {},
                      const ForwardOptions& options = {}) const;

  // The output matrix [V, H] (the embedding when tied).
  const at::Tensor& head_weight() const;
  // hidden [n, H] → fp32 logits [n, V]: for generation and tests, never for training.
  at::Tensor logits(const at::Tensor& hidden) const;

  // What the final norm makes of some block's output: [n, H] → [n, H], part of the graph.
  at::Tensor final_norm(const at::Tensor& hidden) const;

  // In parameter_specs order, tied tensors once; adapters' behind them.
  const std::vector<Parameter>& parameters() const;
  void set_requires_grad(bool on);

  // Keys and values before every sequence, per layer (model/adapters/prefix.h); empty: none.
  const std::vector<at::Tensor>& prefix() const;
  std::int64_t prefix_length() const;
  // Tokens that a sequence may have.
  std::int64_t context() const { return config().max_position_embeddings - prefix_length(); }

  // The forward pass with attention of the caller's making (a key/value cache): rows of tokens in, [n, H]
  // after the final norm out, without a graph.
  at::Tensor forward_with(const AttentionPath& path, const at::Tensor& tokens,
                          const at::Tensor& positions) const;
  Rotation rotation(const at::Tensor& positions) const;

  struct Impl;
  Impl& parts();  // for what changes a model from outside: adapters

 private:
  std::unique_ptr<Impl> impl_;
};

// Writes a Hugging Face folder with the model's present weights.
void save_causal_lm(const CausalLM& model, const std::filesystem::path& folder,
                    const SaveModelOptions& options);

}  // namespace retort
