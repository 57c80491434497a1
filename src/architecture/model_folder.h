// A Hugging Face model folder: config.json, generation_config.json, weights, tokenizer files,
// chat_template.jinja.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "architecture/family.h"
#include "formats/tensor_source.h"

namespace retort {

class ModelFolder {
 public:
  // Reads config.json (transformers 4 and 5 spellings) and generation_config.json (whose eos ids win).
  // Weights are opened on first use.
  explicit ModelFolder(std::filesystem::path path);
  ~ModelFolder();

  const std::filesystem::path& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  bool has_weights() const;
  const TensorSource& weights() const;

  // A canonical parameter as fp32, in canonical shape. Throws Error when the file's tensor has another shape.
  void load(const ParameterSpec& spec, float* out) const;
  std::vector<float> load(const ParameterSpec& spec) const;
  // Every stored tensor must belong to a parameter (or be ignorable), and every parameter must be stored:
  // Error naming the first that does not. A tied head may be stored if it equals the embedding.
  void check_weights() const;
  // The stored tensor that holds a parameter, its shape checked, and in `stored` where in it.
  const TensorView& find_stored(const ParameterSpec& spec, StoredTensor& stored) const;
  // Of weights stored as int8 (i8_channel): one factor for each row of the parameter, from the tensor
  // "<name>_scale" beside it. Empty for weights stored as floating-point values.
  std::vector<float> row_scales(const ParameterSpec& spec) const;

 private:
  struct Weights;  // opened on first use, by whichever thread comes first
  const Weights& open() const;

  std::filesystem::path path_;
  const Family* family_ = nullptr;
  ModelConfig config_;
  std::unique_ptr<Weights> weights_;
};

struct SaveModelOptions {
  DType dtype = DType::bf16;
  std::uint64_t max_shard_bytes = 0;
  // A folder whose tokenizer, chat template and generation files are copied; may be empty.
  std::filesystem::path tokenizer_from = {};
};

// Canonical parameter values [product of shape], fp32.
using ParameterReader = std::function<std::vector<float>(const ParameterSpec&)>;

// Writes config.json, generation_config.json and weights in the family's own layout into `folder` (created if
// missing).
void save_model_folder(const std::filesystem::path& folder, const ModelConfig& config,
                       const ParameterReader& read, const SaveModelOptions& options);

// Copies the files that make up tokenizer, chat template and generation settings (whatever of them exists).
void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace retort
