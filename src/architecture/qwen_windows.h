// Sliding windows as Qwen2 and Qwen3 store them: use_sliding_window switches sliding_window on, for the
// layers that layer_types names or, without it, for those from max_window_layers on (transformers
// configuration_qwen2.py).
#pragma once

#include "architecture/model_config.h"

namespace retort {

void read_qwen_windows(ModelConfig& config, const Json& json, const std::string& where);
void write_qwen_windows(Json& json, const ModelConfig& config);

}  // namespace retort
