// A structured cut: the layers, heads, FFN channels and residual channels of a model that stay. What is left
// is an ordinary smaller model: nothing is masked, rows and columns of the weights are gone.
#pragma once

#include <cstdint>
#include <vector>

#include "architecture/model_folder.h"

namespace retort {

// What stays of one layer; lists ascend.
struct LayerCut {
  std::int64_t layer = 0;  // of the model that is cut
  // Of every group that stays, equally many heads.
  std::vector<std::int64_t> query_heads, key_value_heads;
  std::vector<std::int64_t> ffn;
};

struct Cut {
  std::vector<LayerCut> layers;
  std::vector<std::int64_t> hidden;  // channels of the residual stream, the same everywhere
  // Factor on what every attention and MLP adds to the stream (their output weights and biases).
  double branch_scale = 1;
};

// Nothing is cut but the layers that are not named. Throws Error for an empty, unordered or out-of-range
// list.
Cut keep_layers(const ModelConfig& config, const std::vector<std::int64_t>& layers);

// The smaller model. head_dim stays, and with it the rotation of queries and keys and their norms.
ModelConfig cut_config(const ModelConfig& config, const Cut& cut);

// Reads the smaller model's parameters out of the larger one's. Norms over the residual stream take their
// statistics from the channels that stay.
ParameterReader cut_parameters(const ModelConfig& config, Cut cut, ParameterReader original);

// Writes the smaller model with the folder's tokenizer into `out`, in the data type of the folder's weights.
void write_cut(const ModelFolder& folder, const Cut& cut, const std::filesystem::path& out);

}  // namespace retort
