// OPT with pre-layer norms (all sizes but 350M): ReLU, biases, learned positions stored behind two rows that
// are never used.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "architecture/canonical_name.h"
#include "architecture/family.h"
#include "architecture/hf_config.h"

namespace retort {
namespace {

constexpr ConfigKeys kKeys = {.intermediate_size = "ffn_dim", .activation = "activation_function"};
constexpr std::int64_t kPositionOffset = 2;

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, kKeys, {.tied = true}, where);
  config.normalization = Normalization::layer_norm;
  config.norm_eps = 1e-5;  // not a key: torch's default
  config.position_encoding = PositionEncoding::learned;
  config.gated_mlp = false;
  config.attention_bias = json_get_or<bool>(json, "enable_bias", true, where);
  config.attention_output_bias = config.mlp_bias = config.attention_bias;
  require_value(json, "do_layer_norm_before", {true}, where);
  require_value(json, "_remove_final_layer_norm", {false}, where);
  require_value(json, "layer_norm_elementwise_affine", {true}, where);
  require_value(json, "word_embed_proj_dim", {config.hidden_size}, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, kKeys, "OPTForCausalLM");
  json["word_embed_proj_dim"] = config.hidden_size;
  json["enable_bias"] = config.attention_bias;
  json["do_layer_norm_before"] = true;
  finish_json(json, config, parse);
  return json;
}

StoredTensor stored(const ModelConfig& config, const std::string& canonical_name) {
  static constexpr std::array<std::pair<const char*, const char*>, 8> kModules = {{
      {"model.embed_tokens", "model.decoder.embed_tokens."},
      {"model.norm", "model.decoder.final_layer_norm."},
      {"input_layernorm", "self_attn_layer_norm."},
      {"post_attention_layernorm", "final_layer_norm."},
      {"self_attn.o_proj", "self_attn.out_proj."},
      {"mlp.up_proj", "fc1."},
      {"mlp.down_proj", "fc2."},
      {"lm_head", "lm_head."},
  }};
  if (canonical_name == "model.embed_positions.weight")
    return {.name = "model.decoder.embed_positions.weight",
            .row_begin = kPositionOffset,
            .total_rows = config.max_position_embeddings + kPositionOffset};
  const CanonicalName name = split_name(canonical_name);
  const std::string prefix = name.layer < 0 ? "" : fmt::format("model.decoder.layers.{}.", name.layer);
  for (const auto& [canonical, own] : kModules)
    if (name.module == canonical) return {.name = prefix + own + name.kind};
  return {.name = prefix + name.module + "." + name.kind};  // q, k and v keep their names
}

bool ignorable(std::string_view stored_name) { return stored_name.ends_with("decoder.version"); }

}  // namespace

extern const Family kOptFamily;
const Family kOptFamily = {"opt", parse, to_json, stored, ignorable, "model.", /*has_head_dim=*/false};

}  // namespace retort
