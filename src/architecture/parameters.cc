// The parameters that a ModelConfig implies, and what they cost.
#include <fmt/format.h>

#include <algorithm>

#include "architecture/model_config.h"

namespace retort {
namespace {

// Collects specs under a prefix.
struct SpecList {
  std::vector<ParameterSpec> specs;
  bool norm_bias;

  void linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    specs.push_back({name + ".weight", {out, in}});
    if (bias) specs.push_back({name + ".bias", {out}});
  }
  void norm(const std::string& name, std::int64_t size, bool bias) {
    specs.push_back({name + ".weight", {size}});
    if (bias) specs.push_back({name + ".bias", {size}});
  }
};

std::int64_t linear_weights(const ModelConfig& config, const LayerConfig& layer) {
  const std::int64_t attention =
      2 * (layer.num_attention_heads + layer.num_key_value_heads) * config.head_dim;
  return (attention + (config.gated_mlp ? 3 : 2) * layer.intermediate_size) * config.hidden_size;
}

}  // namespace

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config) {
  SpecList list{{}, config.normalization == Normalization::layer_norm};
  const std::int64_t hidden = config.hidden_size;
  list.specs.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  if (config.position_encoding == PositionEncoding::learned)
    list.specs.push_back({"model.embed_positions.weight", {config.max_position_embeddings, hidden}});
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::int64_t queries = layer.num_attention_heads * config.head_dim;
    const std::int64_t keys = layer.num_key_value_heads * config.head_dim;
    list.norm(prefix + "input_layernorm", hidden, list.norm_bias);
    list.linear(prefix + "self_attn.q_proj", queries, hidden, config.attention_bias);
    list.linear(prefix + "self_attn.k_proj", keys, hidden, config.attention_bias);
    list.linear(prefix + "self_attn.v_proj", keys, hidden, config.attention_bias);
    if (config.qk_norm) {
      list.norm(prefix + "self_attn.q_norm", config.head_dim, false);
      list.norm(prefix + "self_attn.k_norm", config.head_dim, false);
    }
    list.linear(prefix + "self_attn.o_proj", hidden, queries, config.attention_output_bias);
    list.norm(prefix + "post_attention_layernorm", hidden, list.norm_bias);
    if (config.gated_mlp)
      list.linear(prefix + "mlp.gate_proj", layer.intermediate_size, hidden, config.mlp_bias);
    list.linear(prefix + "mlp.up_proj", layer.intermediate_size, hidden, config.mlp_bias);
    list.linear(prefix + "mlp.down_proj", hidden, layer.intermediate_size, config.mlp_bias);
  }
  list.norm("model.norm", hidden, list.norm_bias);
  if (!config.tie_word_embeddings) list.specs.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return std::move(list.specs);
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    std::int64_t count = 1;
    for (const std::int64_t size : spec.shape) count *= size;
    total += count;
  }
  return total;
}

double flops_per_token(const ModelConfig& config, std::int64_t context) {
  double flops = 2.0 * static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
  for (const LayerConfig& layer : config.layers) {
    const std::int64_t seen = layer.sliding_window > 0 ? std::min(context, layer.sliding_window) : context;
    flops += 2.0 * static_cast<double>(linear_weights(config, layer));
    // Scores and their weighted sum of values.
    flops +=
        4.0 * static_cast<double>(seen) * static_cast<double>(layer.num_attention_heads * config.head_dim);
  }
  return flops;
}

}  // namespace retort
