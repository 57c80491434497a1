// Adapters on a CausalLM: made anew for training, read from folders, stacked with weights, saved, merged.
#pragma once

#include "architecture/adapter_folder.h"
#include "model/causal_lm.h"

namespace retort {

// A new adapter: A uniform in ±1/√in and B zero (as PEFT), so that the model starts as it was; magnitudes the
// rows' lengths. Everything else but `config.trained` is frozen.
void add_adapter(CausalLM& model, const AdapterConfig& config, std::uint64_t seed);
// A folder's adapter, its effect times `weight`. Modules trained whole move by weight · (theirs − ours).
// `trainable`: it goes on learning.
void add_adapter(CausalLM& model, const AdapterFolder& folder, double weight, bool trainable = false);
// Folders with their weights, in order. Error for two that hold one tensor whole.
void add_adapters(CausalLM& model, const std::vector<AdapterReference>& references);

// Freezes parameters whose canonical name matches (model/parameter_pattern.h).
void freeze(CausalLM& model, const std::vector<std::string>& patterns);

// Writes what add_adapter(model, config, …) trains.
void save_adapter(const CausalLM& model, const AdapterConfig& config, const std::filesystem::path& folder);

struct MergeOptions {
  bool ties = false;  // Yadav et al. 2023: trim, elect signs, mean of those that agree; else the weighted sum
  double density = 1;  // of TIES: the share of a tensor's entries kept, the largest
};
// Adds the adapters' changes into the model's weights.
void merge_adapters(CausalLM& model, const std::vector<AdapterReference>& references,
                    const MergeOptions& options);

}  // namespace retort
