// How canonical parameters come to lie in a family's files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "architecture/model_folder.h"

namespace retort {

// Stored tensors, and the parameters that make each of them up. Rows that none of them covers are zero.
struct SavePlan {
  struct Piece {
    ParameterSpec spec;
    StoredTensor stored;
  };
  std::vector<TensorView> tensors;
  std::map<std::string, std::vector<Piece>> pieces;

  // The stored tensor's values.
  std::vector<float> values(const TensorView& tensor, const ParameterReader& read) const;
};
SavePlan make_save_plan(const ModelConfig& config, const Family& family, DType dtype);

// generation_config.json, what is there merged with the config's token ids.
void write_generation_config(const std::filesystem::path& folder, const ModelConfig& config);

}  // namespace retort
