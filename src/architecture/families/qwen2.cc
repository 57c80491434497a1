// Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen: Llama with biases on q, k and v.
#include "architecture/hf_config.h"
#include "architecture/llama_layout.h"
#include "architecture/qwen_windows.h"

namespace retort {
namespace {

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, {}, {}, where);
  config.norm_eps = json_get_or<double>(json, "rms_norm_eps", 1e-6, where);
  config.attention_bias = true;
  read_rope(config, json, where);
  read_qwen_windows(config, json, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, {}, "Qwen2ForCausalLM");
  json["rms_norm_eps"] = config.norm_eps;
  // A missing one means 32 to transformers.
  json["num_key_value_heads"] = config.layers.front().num_key_value_heads;
  write_rope(json, config);
  write_qwen_windows(json, config);
  finish_json(json, config, parse);
  return json;
}

}  // namespace

extern const Family kQwen2Family;
const Family kQwen2Family = {"qwen2", parse, to_json, stored_as_is, is_rotary_buffer, "model."};

}  // namespace retort
