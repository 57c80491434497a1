// Small models of every shape that the blocks know, and batches for them.
#pragma once

#include <numeric>

#include "base/random.h"
#include "model/causal_lm.h"

namespace retort {

inline ModelConfig tiny_llama() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 67;
  config.hidden_size = 32;
  config.head_dim = 8;
  config.max_position_embeddings = 96;
  config.layers.assign(
      3, {.num_attention_heads = 4, .num_key_value_heads = 2, .intermediate_size = 40, .sliding_window = 0});
  config.hf_config = {{"initializer_range", 0.3}};
  return config;
}

inline ModelConfig tiny_gpt2() {
  ModelConfig config = tiny_llama();
  config.model_type = "gpt2";
  for (LayerConfig& layer : config.layers) layer.num_key_value_heads = 4;
  config.normalization = Normalization::layer_norm;
  config.activation = Activation::gelu_tanh;
  config.gated_mlp = false;
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  config.tie_word_embeddings = true;
  config.position_encoding = PositionEncoding::learned;
  return config;
}

// Layers that differ, windows, q and k norms, head_dim apart from hidden / heads.
inline ModelConfig tiny_mixed() {
  ModelConfig config = tiny_llama();
  config.model_type = "qwen3";
  config.head_dim = 12;
  config.qk_norm = true;
  config.layers[0].sliding_window = 5;
  config.layers[1] = {
      .num_attention_heads = 2, .num_key_value_heads = 1, .intermediate_size = 24, .sliding_window = 0};
  return config;
}

inline std::vector<TokenId> random_tokens(std::int64_t n, std::uint64_t seed, std::int64_t vocabulary = 67) {
  Random random(seed);
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>(random.below(vocabulary)));
  return tokens;
}

// Every position but the last of each sequence predicts the next token.
inline Batch make_batch(const std::vector<std::vector<TokenId>>& sequences) {
  Batch batch;
  for (const auto& tokens : sequences) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool last = i + 1 == tokens.size();
      batch.tokens.push_back(tokens[i]);
      batch.targets.push_back(last ? kNoTarget : tokens[i + 1]);
      batch.weights.push_back(last ? 0.f : 1.f);
      batch.positions.push_back(static_cast<std::int32_t>(i));
    }
    batch.sequence_starts.push_back(static_cast<std::int32_t>(batch.tokens.size()));
    batch.example_ids.push_back(batch.example_ids.size());
    batch.sources.push_back(0);
  }
  return batch;
}

inline Batch some_batch() {
  return make_batch({random_tokens(17, 1), random_tokens(1, 2), random_tokens(40, 3), random_tokens(9, 4)});
}

// Mean cross entropy at the targets, through ATen.
inline at::Tensor mean_cross_entropy(const CausalLM& model, const DeviceBatch& batch,
                                     const ModelOutput& output) {
  const at::Tensor logits = at::linear(output.target_rows(batch), model.head_weight());
  return at::cross_entropy_loss(logits.to(at::kFloat), batch.labels);
}

struct Step {
  at::Tensor loss;
  std::vector<at::Tensor> gradients;
};
inline Step run_step(CausalLM& model, const ForwardOptions& options, const Taps& taps = {}) {
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  for (const Parameter& p : model.parameters()) at::Tensor(p.tensor).mutable_grad() = at::Tensor();
  Step step{mean_cross_entropy(model, device_batch, model.forward(device_batch, taps, options)), {}};
  step.loss.backward();
  for (const Parameter& p : model.parameters()) step.gradients.push_back(p.tensor.grad());
  return step;
}

}  // namespace retort
