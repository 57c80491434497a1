// Qwen3 (dense): RMSNorm on each head's q and k, head_dim apart from hidden_size / heads.
#include "architecture/hf_config.h"
#include "architecture/llama_layout.h"
#include "architecture/qwen_windows.h"

namespace retort {
namespace {

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, {}, {.head_dim = 128}, where);
  config.norm_eps = json_get_or<double>(json, "rms_norm_eps", 1e-6, where);
  config.attention_bias = json_get_or<bool>(json, "attention_bias", false, where);
  config.attention_output_bias = config.attention_bias;
  config.qk_norm = true;
  read_rope(config, json, where);
  read_qwen_windows(config, json, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, {}, "Qwen3ForCausalLM");
  json["rms_norm_eps"] = config.norm_eps;
  json["attention_bias"] = config.attention_bias;
  json["head_dim"] = config.head_dim;  // a missing one means 128 to transformers
  json["num_key_value_heads"] = config.layers.front().num_key_value_heads;  // and here 32
  write_rope(json, config);
  write_qwen_windows(json, config);
  finish_json(json, config, parse);
  return json;
}

}  // namespace

extern const Family kQwen3Family;
const Family kQwen3Family = {"qwen3", parse, to_json, stored_as_is, is_rotary_buffer, "model."};

}  // namespace retort
