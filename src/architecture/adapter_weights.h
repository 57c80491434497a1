// Adapters as an engine applies them: LoRA as two small matrices for each canonical weight, prefixes as keys
// and values. Read from PEFT folders (adapter_folder.h) and from llama.cpp's GGUF adapters (gguf_adapter.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "architecture/adapter_folder.h"

namespace retort {

// y += scale · B (A x) beside the layer whose weight has this canonical name.
struct LoraPart {
  std::string parameter;  // "model.layers.0.self_attn.q_proj.weight"
  std::int64_t rank = 0, in = 0, out = 0;
  std::vector<float> a, b;  // [rank, in], [out, rank]
  double scale = 1;         // alpha / rank, or alpha / √rank
};

struct AdapterWeights {
  std::string where;
  std::vector<LoraPart> lora;
  // Keys and values before every sequence, rotated already: [virtual_tokens, Σ over layers of (keys |
  // values)].
  std::int64_t virtual_tokens = 0;
  std::vector<float> prefix;
};

// A PEFT folder or a .gguf file over a model of this config. Throws Error naming the tensor for shapes of
// another base and ranks above a layer's width, and for what is no such sum: DoRA, and modules trained whole.
AdapterWeights open_adapter_weights(const std::filesystem::path& path, const ModelConfig& model);

}  // namespace retort
