// Adapters as data: PEFT's folder format (adapter_config.json and adapter_model.safetensors), its names and
// its rules of which layers a pattern means. No LibTorch: every engine reads adapters here.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "architecture/model_config.h"
#include "formats/tensor_source.h"

namespace retort {

// A linear layer as the family's files name it; GPT-2's c_attn covers three canonical parameters.
struct LinearModule {
  std::string name;                     // "model.layers.0.self_attn.q_proj", "transformer.h.0.attn.c_attn"
  std::vector<std::string> parameters;  // canonical names of the weights, in the order of their rows
  std::int64_t in_features = 0, out_features = 0;
  bool transposed = false;  // Conv1D: stored [in, out]
  bool attention = false;
};
std::vector<LinearModule> linear_modules(const ModelConfig& config);

struct AdapterConfig {
  enum class Kind { lora, prefix } kind = Kind::lora;
  std::int64_t rank = 8;
  double alpha = 16, dropout = 0;
  bool rslora = false;  // scale alpha / √rank (Kalajdzievski 2023) instead of alpha / rank
  bool dora = false;    // magnitudes trained beside directions (Liu et al. 2024)
  std::vector<std::string> targets = {};  // LoRA's modules
  std::vector<std::string> trained = {};  // modules trained whole (modules_to_save)
  std::int64_t virtual_tokens = 0;
  std::string base = {};  // base_model_name_or_path

  double scale(std::int64_t module_rank) const;
};

// Modules that patterns mean: a pattern is a name, the end of one behind a dot, or holds '*' for any text.
// Error naming the first pattern that means none.
std::vector<LinearModule> match_modules(const std::vector<LinearModule>& modules,
                                        const std::vector<std::string>& patterns, const std::string& where);

struct AdapterFolder {
  std::filesystem::path path;
  AdapterConfig config;
  std::unique_ptr<TensorSource> tensors;

  // Reads and checks both files. Error for what a model without it would silently lack.
  explicit AdapterFolder(std::filesystem::path folder);
  // A stored tensor as fp32, of exactly this shape.
  std::vector<float> load(const std::string& name, const std::vector<std::int64_t>& shape) const;
  // The shape check of every reader: Error naming folder, tensor and both shapes.
  const TensorView& find(const std::string& name, const std::vector<std::int64_t>& shape) const;
};

// A tensor to be written.
struct AdapterTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
void write_adapter_folder(const std::filesystem::path& folder, const AdapterConfig& config,
                          const ModelConfig& model, const std::vector<AdapterTensor>& tensors);

// "DIR" or "DIR:WEIGHT".
struct AdapterReference {
  std::string path;
  double weight = 1;
};
// All of them; Error for a weight that is no number and for weights that sum to zero.
std::vector<AdapterReference> parse_adapter_references(const std::vector<std::string>& texts);

inline const std::string kAdapterPrefix = "base_model.model.";
inline const std::string kPrefixTensor = "prompt_embeddings";

}  // namespace retort
