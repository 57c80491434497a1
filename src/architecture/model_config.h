// What a decoder-only transformer is, whatever file it came from: the one description from which torch
// modules, the CPU runtime, shapes, FLOPs and files are made. Field names are Hugging Face's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/token.h"

namespace retort {

enum class Normalization { rms_norm, layer_norm };
// gelu_tanh is Hugging Face's "gelu_new" / "gelu_pytorch_tanh".
enum class Activation { silu, gelu, gelu_tanh, relu };
enum class PositionEncoding { rotary, learned };

// How rotary frequencies are changed for longer contexts. linear: position / factor. llama3: per frequency,
// as Llama 3.1 (Hugging Face modeling_rope_utils.py, "llama3").
struct RopeScaling {
  enum class Type { none, linear, llama3 } type = Type::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 0;
};

inline constexpr std::int64_t kMaxLayers = 1024;  // a file that claims more is damaged or hostile

// Layers may differ: a pruned model is a normal model.
struct LayerConfig {
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;  // divides num_attention_heads
  std::int64_t intermediate_size = 0;
  std::int64_t sliding_window = 0;  // a query sees this many last keys, itself included; 0 = all
  bool operator==(const LayerConfig&) const = default;
};

struct ModelConfig {
  std::string model_type;  // the family's row: llama, mistral, qwen2, qwen3, gpt2, opt
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_position_embeddings = 0;
  std::vector<LayerConfig> layers;

  Normalization normalization = Normalization::rms_norm;
  double norm_eps = 1e-6;
  Activation activation = Activation::silu;
  bool gated_mlp = true;        // down(act(gate(x)) * up(x)), else down(act(up(x)))
  bool attention_bias = false;  // on q, k, v
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  // RMSNorm over head_dim on q and k, before the rotation (Qwen3)
  bool tie_word_embeddings = false;

  PositionEncoding position_encoding = PositionEncoding::rotary;
  double rope_theta = 10000;
  RopeScaling rope_scaling;

  std::optional<TokenId> bos_token_id, pad_token_id;
  std::vector<TokenId> eos_token_ids;  // any of them ends an answer

  Json hf_config;  // config.json as read: keys that Retort does not use survive a round trip

  std::int64_t num_hidden_layers() const { return static_cast<std::int64_t>(layers.size()); }
  bool uniform_layers() const;  // all layers alike: plain Hugging Face classes load it
};

// Inverse frequencies [head_dim / 2] in double precision, scaling applied: angle = position * frequency.
std::vector<double> rope_frequencies(const ModelConfig& config);

// A parameter under its canonical name (Hugging Face's for the Llama family), with its canonical shape:
// linear weights are [out_features, in_features].
struct ParameterSpec {
  std::string name;
  std::vector<std::int64_t> shape;
};

// Every parameter of the model, in order. A tied head has no "lm_head.weight". Learned positions are
// "model.embed_positions.weight" [max_position_embeddings, hidden_size]. Layer norms have ".bias". Names per
// layer i, under "model.layers.i.": input_layernorm, self_attn.{q,k,v,o}_proj, self_attn.{q,k}_norm,
// post_attention_layernorm, mlp.{gate,up,down}_proj; at the end model.norm, lm_head.
std::vector<ParameterSpec> parameter_specs(const ModelConfig& config);

std::int64_t parameter_count(const ModelConfig& config);
// Multiply-adds counted as two, for one token at a context of `context` tokens, head included.
double flops_per_token(const ModelConfig& config, std::int64_t context);

// Throws Error (naming the key) when numbers are missing, negative, beyond sane limits, or do not fit
// together.
void check_config(const ModelConfig& config, const std::string& where);

}  // namespace retort
