#include "architecture/qwen_windows.h"

#include <algorithm>

#include "architecture/hf_config.h"

namespace retort {

void read_qwen_windows(ModelConfig& config, const Json& json, const std::string& where) {
  std::int64_t window = 0;
  if (json_get_or<bool>(json, "use_sliding_window", false, where))
    window =
        json.contains("sliding_window") ? json_get_or<std::int64_t>(json, "sliding_window", 0, where) : 4096;
  if (read_layer_types(config, window, json, where)) return;
  const auto first = json_get_or<std::int64_t>(json, "max_window_layers", 28, where);
  for (std::int64_t i = std::max<std::int64_t>(first, 0); i < config.num_hidden_layers(); ++i)
    config.layers[static_cast<std::size_t>(i)].sliding_window = window;
}

void write_qwen_windows(Json& json, const ModelConfig& config) {
  std::int64_t window = 0;
  for (const LayerConfig& layer : config.layers) window = std::max(window, layer.sliding_window);
  json.erase("layer_types");
  json["use_sliding_window"] = window > 0;
  if (window == 0) return;
  Json types = Json::array();
  std::int64_t first = 0;  // of the run of windows that ends with the last layer
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = config.layers[i].sliding_window > 0;
    types.push_back(sliding ? "sliding_attention" : "full_attention");
    if (!sliding) first = static_cast<std::int64_t>(i) + 1;
  }
  json["sliding_window"] = window;
  json["max_window_layers"] = first;  // all that transformers before 4.53 read
  json["layer_types"] = std::move(types);
}

}  // namespace retort
