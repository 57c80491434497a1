// Llama 1 to 3, and whatever is stored as one (DeepSeek-R1-Distill-Llama, TinyLlama, SmolLM).
#include "architecture/hf_config.h"
#include "architecture/llama_layout.h"

namespace retort {
namespace {

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, {}, {}, where);
  config.norm_eps = json_get_or<double>(json, "rms_norm_eps", 1e-6, where);
  config.attention_bias = json_get_or<bool>(json, "attention_bias", false, where);
  config.attention_output_bias = config.attention_bias;
  config.mlp_bias = json_get_or<bool>(json, "mlp_bias", false, where);
  read_rope(config, json, where);
  read_layer_types(config, 0, json, where);
  require_value(json, "sliding_window", {}, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, {}, "LlamaForCausalLM");
  json["rms_norm_eps"] = config.norm_eps;
  json["attention_bias"] = config.attention_bias;
  json["mlp_bias"] = config.mlp_bias;
  json.erase("layer_types");
  write_rope(json, config);
  finish_json(json, config, parse);
  return json;
}

}  // namespace

extern const Family kLlamaFamily;
const Family kLlamaFamily = {"llama", parse, to_json, stored_as_is, is_rotary_buffer, "model."};

}  // namespace retort
