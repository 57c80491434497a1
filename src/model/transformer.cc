#include "model/transformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "model/blocks/embedding.h"

namespace retort {
namespace {

ActivationKind kind_of(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return ActivationKind::silu;
    case Activation::gelu:
      return ActivationKind::gelu;
    case Activation::gelu_tanh:
      return ActivationKind::gelu_tanh;
    default:
      return ActivationKind::relu;
  }
}

}  // namespace

Norm CausalLM::Impl::make_norm(const std::string& name, std::int64_t width, bool layer_norm) {
  Norm norm{at::empty({width}, options), layer_norm ? at::empty({width}, options) : at::Tensor(),
            config.norm_eps};
  named_[name + ".weight"] = norm.weight;
  if (layer_norm) named_[name + ".bias"] = norm.bias;
  return norm;
}

Linear CausalLM::Impl::make_linear(const std::string& prefix, const std::vector<std::string>& names,
                                   const std::vector<std::int64_t>& out_features, std::int64_t in_features,
                                   bool bias) {
  const bool trained = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return std::find(base_.whole.begin(), base_.whole.end(), prefix + name + ".weight") != base_.whole.end();
  });
  Linear linear = base_.encoding != nullptr && !trained
                      ? Linear(out_features, in_features, bias, options, *base_.encoding,
                               prefix + names.front() + ".weight")
                      : Linear(out_features, in_features, bias, options);
  for (std::size_t i = 0; i < names.size(); ++i) {
    named_[prefix + names[i] + ".weight"] = linear.weight(i);
    if (bias) named_[prefix + names[i] + ".bias"] = linear.bias(i);
  }
  return linear;
}

Block CausalLM::Impl::make_block(int index) {
  const LayerConfig& layer = config.layers[index];
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const std::int64_t width = config.hidden_size, ffn = layer.intermediate_size;
  const std::int64_t q = layer.num_attention_heads * config.head_dim,
                     kv = layer.num_key_value_heads * config.head_dim;
  const bool layer_norm = config.normalization == Normalization::layer_norm;
  Block block;
  block.input_norm = make_norm(prefix + "input_layernorm", width, layer_norm);
  block.post_norm = make_norm(prefix + "post_attention_layernorm", width, layer_norm);
  Attention& attention = block.attention;
  attention.layer = {
      index, {layer.num_attention_heads, layer.num_key_value_heads, config.head_dim}, layer.sliding_window};
  attention.qkv = make_linear(prefix + "self_attn.", {"q_proj", "k_proj", "v_proj"}, {q, kv, kv}, width,
                              config.attention_bias);
  attention.output = make_linear(prefix + "self_attn.", {"o_proj"}, {width}, q, config.attention_output_bias);
  if (config.qk_norm) {
    attention.q_norm = make_norm(prefix + "self_attn.q_norm", config.head_dim, false);
    attention.k_norm = make_norm(prefix + "self_attn.k_norm", config.head_dim, false);
  }
  Mlp& mlp = block.mlp;
  mlp.gated = config.gated_mlp;
  mlp.activation = kind_of(config.activation);
  mlp.expand = config.gated_mlp ? make_linear(prefix + "mlp.", {"gate_proj", "up_proj"}, {ffn, ffn}, width,
                                              config.mlp_bias)
                                : make_linear(prefix + "mlp.", {"up_proj"}, {ffn}, width, config.mlp_bias);
  mlp.down = make_linear(prefix + "mlp.", {"down_proj"}, {width}, ffn, config.mlp_bias);
  return block;
}

CausalLM::Impl::Impl(ModelConfig model_config, at::Device device, at::ScalarType dtype,
                     const FrozenBase& base)
    : config(std::move(model_config)), options(at::TensorOptions(dtype).device(device)), base_(base) {
  embed_tokens = named_["model.embed_tokens.weight"] =
      at::empty({config.vocab_size, config.hidden_size}, options);
  if (config.position_encoding == PositionEncoding::learned) {
    embed_positions = named_["model.embed_positions.weight"] =
        at::empty({config.max_position_embeddings, config.hidden_size}, options);
  } else {
    const std::vector<double> exact = rope_frequencies(config);
    frequencies = at::tensor(std::vector<float>(exact.begin(), exact.end())).to(device);
  }
  for (int i = 0; i < config.num_hidden_layers(); ++i) blocks.push_back(make_block(i));
  norm = make_norm("model.norm", config.hidden_size, config.normalization == Normalization::layer_norm);
  head = config.tie_word_embeddings
             ? embed_tokens
             : named_["lm_head.weight"] = at::empty({config.vocab_size, config.hidden_size}, options);

  for (const ParameterSpec& spec : parameter_specs(config)) {
    const auto found = named_.find(spec.name);
    if (found == named_.end() || found->second.sizes() != at::IntArrayRef(spec.shape))
      throw Error(
          {.where = config.model_type + " model", .found = "parameter " + spec.name + " without a place"},
          ErrorKind::failure);
    parameters.push_back({spec.name, found->second});
    named_.erase(found);
  }
  if (!named_.empty())
    throw Error({.where = config.model_type + " model",
                 .found = named_.begin()->first + ", which has no parameter spec"},
                ErrorKind::failure);
}

at::Tensor CausalLM::Impl::embed_rows(const at::Tensor& tokens, const at::Tensor& positions) const {
  const at::Tensor x = embed(embed_tokens, tokens);
  return embed_positions.defined() ? x + embed(embed_positions, positions) : x;
}

std::pair<Linear*, std::int64_t> CausalLM::Impl::find_linear(const std::string& name) {
  for (Block& block : blocks)
    for (Linear* linear :
         {&block.attention.qkv, &block.attention.output, &block.mlp.expand, &block.mlp.down}) {
      std::int64_t row = 0;
      for (std::size_t part = 0; part < linear->parts(); row += linear->weight(part++).size(0))
        for (const Parameter& parameter : parameters)
          if (parameter.name == name && parameter.tensor.is_same(linear->weight(part))) return {linear, row};
    }
  throw Error({.where = name, .found = "no linear layer of that name"}, ErrorKind::failure);
}

void CausalLM::Impl::check_batch(const DeviceBatch& batch) const {
  if (batch.tokens.numel() == 0)
    throw Error({.where = "batch", .found = "no tokens", .expected = "at least one sequence"});
  if (!batch.tokens.is_cpu() && !batch.host) return;
  const auto check = [&](auto begin, auto end, std::int64_t bound, const char* what) {
    for (auto at = begin; at != end; ++at)
      if (*at < 0 || *at >= bound)
        throw Error({.where = "batch",
                     .found = fmt::format("{} {}", what, *at),
                     .expected = fmt::format("0 … {}", bound - 1),
                     .advice = "Tokenizer and model, or context and sequence length, do not fit together"});
  };
  if (batch.host) {
    check(batch.host->tokens.begin(), batch.host->tokens.end(), config.vocab_size, "token");
    if (embed_positions.defined())
      check(batch.host->positions.begin(), batch.host->positions.end(),
            config.max_position_embeddings - prefix_length(), "position");
  } else {
    const std::int64_t n = batch.tokens.numel();
    const std::int64_t* tokens = batch.tokens.data_ptr<std::int64_t>();
    const std::int64_t* positions = batch.positions.data_ptr<std::int64_t>();
    check(tokens, tokens + n, config.vocab_size, "token");
    if (embed_positions.defined())
      check(positions, positions + n, config.max_position_embeddings - prefix_length(), "position");
  }
}

}  // namespace retort
