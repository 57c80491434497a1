// How much each column of a matrix matters: the mean square of the inputs it is multiplied with, over
// calibration texts.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "architecture/gguf_model.h"

namespace retort {

class Importance {
 public:
  // By the names that the file uses: stored (llama.cpp's) or canonical.
  explicit Importance(std::map<std::string, std::vector<float>> moments, std::string where)
      : moments_(std::move(moments)), where_(std::move(where)) {}

  // One weight for each column; nothing for a tensor that the file does not name. Throws Error for another
  // length.
  std::span<const float> of(const GgufParameter& stored, const ModelConfig& config) const;

 private:
  std::map<std::string, std::vector<float>> moments_;
  std::string where_;
};

// llama.cpp's imatrix as GGUF (NAME.in_sum2 and NAME.counts), or safetensors with one vector under each
// parameter's canonical name.
std::unique_ptr<Importance> open_importance(const std::filesystem::path& path);

}  // namespace retort
