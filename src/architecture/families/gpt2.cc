// GPT-2: learned positions, layer norms with bias, Conv1D weights stored [in, out], q, k and v fused in
// c_attn.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "architecture/canonical_name.h"
#include "architecture/family.h"
#include "architecture/hf_config.h"

namespace retort {
namespace {

constexpr ConfigKeys kKeys = {.hidden_size = "n_embd",
                              .num_hidden_layers = "n_layer",
                              .num_attention_heads = "n_head",
                              .intermediate_size = "n_inner",
                              .max_position_embeddings = "n_positions",
                              .activation = "activation_function"};

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, kKeys, {.tied = true, .optional_intermediate = true}, where);
  config.normalization = Normalization::layer_norm;
  config.norm_eps = json_get_or<double>(json, "layer_norm_epsilon", 1e-5, where);
  config.position_encoding = PositionEncoding::learned;
  config.gated_mlp = false;
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  require_value(json, "scale_attn_weights", {true}, where);
  require_value(json, "scale_attn_by_inverse_layer_idx", {false}, where);
  require_value(json, "reorder_and_upcast_attn", {false}, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, kKeys, "GPT2LMHeadModel");
  json["layer_norm_epsilon"] = config.norm_eps;
  if (json.contains("n_ctx")) json["n_ctx"] = config.max_position_embeddings;
  finish_json(json, config, parse);
  return json;
}

StoredTensor stored(const ModelConfig& config, const std::string& canonical_name) {
  const CanonicalName name = split_name(canonical_name);
  if (name.layer < 0) {
    static constexpr std::array<std::pair<const char*, const char*>, 3> kOutside = {{
        {"model.embed_tokens", "transformer.wte."},
        {"model.embed_positions", "transformer.wpe."},
        {"model.norm", "transformer.ln_f."},
    }};
    for (const auto& [canonical, own] : kOutside)
      if (name.module == canonical) return {.name = own + name.kind};
    return {.name = canonical_name};  // lm_head, which is a plain linear layer
  }
  const std::string prefix = fmt::format("transformer.h.{}.", name.layer);
  if (name.module == "input_layernorm") return {.name = prefix + "ln_1." + name.kind};
  if (name.module == "post_attention_layernorm") return {.name = prefix + "ln_2." + name.kind};
  const bool transposed = name.kind == "weight";
  static constexpr std::array<std::pair<const char*, const char*>, 3> kLinear = {
      {{"self_attn.o_proj", "attn.c_proj."}, {"mlp.up_proj", "mlp.c_fc."}, {"mlp.down_proj", "mlp.c_proj."}}};
  for (const auto& [canonical, own] : kLinear)
    if (name.module == canonical) return {.name = prefix + own + name.kind, .transposed = transposed};
  const LayerConfig& layer = config.layers[static_cast<std::size_t>(name.layer)];
  const std::int64_t queries = layer.num_attention_heads * config.head_dim;
  const std::int64_t keys = layer.num_key_value_heads * config.head_dim;
  const std::int64_t begin = name.module == "self_attn.q_proj"   ? 0
                             : name.module == "self_attn.k_proj" ? queries
                                                                 : queries + keys;
  return {.name = prefix + "attn.c_attn." + name.kind,
          .transposed = transposed,
          .row_begin = begin,
          .total_rows = queries + 2 * keys};
}

// Causal masks that old files carry.
bool ignorable(std::string_view stored_name) {
  return stored_name.ends_with(".attn.bias") || stored_name.ends_with(".attn.masked_bias");
}

}  // namespace

extern const Family kGpt2Family;
const Family kGpt2Family = {
    "gpt2", parse, to_json, stored, ignorable, "transformer.", /*has_head_dim=*/false};

}  // namespace retort
