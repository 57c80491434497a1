// Mistral 7B and its kin: Llama with one sliding window for all layers.
#include "architecture/hf_config.h"
#include "architecture/llama_layout.h"

namespace retort {
namespace {

ModelConfig parse(const Json& json, const std::string& where) {
  ModelConfig config = read_base(json, {}, {}, where);
  config.norm_eps = json_get_or<double>(json, "rms_norm_eps", 1e-6, where);
  read_rope(config, json, where);
  // A missing key means 4096 to transformers; null means no window.
  const std::int64_t window =
      json.contains("sliding_window") ? json_get_or<std::int64_t>(json, "sliding_window", 0, where) : 4096;
  for (LayerConfig& layer : config.layers) layer.sliding_window = window;
  read_layer_types(config, window, json, where);
  finish_parse(config, json, where);
  return config;
}

Json to_json(const ModelConfig& config) {
  Json json = write_base(config, {}, "MistralForCausalLM");
  json["rms_norm_eps"] = config.norm_eps;
  const std::int64_t window = config.layers.front().sliding_window;
  json["sliding_window"] = window > 0 ? Json(window) : Json();
  // A missing one means 8 to transformers.
  json["num_key_value_heads"] = config.layers.front().num_key_value_heads;
  json.erase("layer_types");
  write_rope(json, config);
  finish_json(json, config, parse);
  return json;
}

}  // namespace

extern const Family kMistralFamily;
const Family kMistralFamily = {"mistral", parse, to_json, stored_as_is, is_rotary_buffer, "model."};

}  // namespace retort
