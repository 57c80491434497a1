#include "architecture/model_folder.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>

#include "architecture/hf_config.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

ModelConfig read_config(const fs::path& folder, const Family*& family) {
  if (!fs::is_directory(folder))
    throw Error({.where = folder.string(),
                 .found = fs::exists(folder) ? "a file" : "no such folder",
                 .expected = "a model folder",
                 .advice = "Name the folder that holds config.json."});
  const std::string where = (folder / "config.json").string();
  const Json json = read_json(folder / "config.json");
  family = &find_family(json_get<std::string>(json, "model_type", where), where);
  ModelConfig config = family->parse(json, where);
  if (const fs::path path = folder / "generation_config.json"; fs::exists(path)) {
    const std::vector<TokenId> eos =
        read_token_ids(read_json(path), "eos_token_id", config.vocab_size, path.string());
    if (!eos.empty()) config.eos_token_ids = eos;
  }
  return config;
}

std::vector<std::int64_t> stored_shape(const ParameterSpec& spec, const StoredTensor& stored) {
  std::vector<std::int64_t> shape = spec.shape;
  if (stored.total_rows > 0) shape[0] = stored.total_rows;
  if (stored.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

constexpr const char* kScaleSuffix = "_scale";

void values_of(const TensorView& tensor, float* out) {
  if (tensor.dtype != DType::i8) return to_float(tensor, out);
  kI8Channel.decode(tensor.bytes.data(), {out, static_cast<std::size_t>(tensor.element_count())});
}

}  // namespace

struct ModelFolder::Weights {
  std::once_flag once;
  std::unique_ptr<TensorSource> source;
  bool without_prefix = false;  // saved from the base model: no name has the family's prefix
};

ModelFolder::ModelFolder(fs::path path)
    : path_(std::move(path)), config_(read_config(path_, family_)), weights_(std::make_unique<Weights>()) {}

ModelFolder::~ModelFolder() = default;

bool ModelFolder::has_weights() const {
  return fs::exists(path_ / "model.safetensors") || fs::exists(path_ / "model.safetensors.index.json");
}

const ModelFolder::Weights& ModelFolder::open() const {
  std::call_once(weights_->once, [&] {
    auto source = open_safetensors(path_);
    const std::string embedding = family_->stored(config_, "model.embed_tokens.weight").name;
    weights_->without_prefix = source->find(embedding) == nullptr &&
                               source->find(embedding.substr(family_->base_prefix.size())) != nullptr;
    weights_->source = std::move(source);
  });
  return *weights_;
}

const TensorSource& ModelFolder::weights() const { return *open().source; }

const TensorView& ModelFolder::find_stored(const ParameterSpec& spec, StoredTensor& stored) const {
  const Weights& weights = open();
  stored = family_->stored(config_, spec.name);
  if (weights.without_prefix && stored.name.starts_with(family_->base_prefix))
    stored.name.erase(0, family_->base_prefix.size());
  const TensorView& tensor = weights.source->get(stored.name);
  const TensorView expected{stored.name, tensor.dtype, stored_shape(spec, stored), {}};
  if (tensor.shape != expected.shape)
    throw Error({.where = weights.source->where(),
                 .found = tensor.describe(),
                 .expected = expected.describe(),
                 .advice = "config.json and the weights do not belong together."});
  return tensor;
}

std::vector<float> ModelFolder::row_scales(const ParameterSpec& spec) const {
  StoredTensor stored;
  if (find_stored(spec, stored).dtype != DType::i8) return {};
  const TensorView& scales = weights().get(stored.name + kScaleSuffix);
  const std::int64_t total = stored.total_rows > 0 ? stored.total_rows : spec.shape[0];
  if (scales.element_count() != total)
    throw Error({.where = weights().where(),
                 .found = scales.describe(),
                 .expected = std::to_string(total) + " scales, one for each row"});
  const std::vector<float> all = to_float(scales);
  return {all.begin() + stored.row_begin, all.begin() + stored.row_begin + spec.shape[0]};
}

void ModelFolder::load(const ParameterSpec& spec, float* out) const {
  StoredTensor stored;
  TensorView slice = find_stored(spec, stored);
  const std::int64_t rows = spec.shape[0];
  const std::int64_t columns = spec.shape.size() > 1 ? spec.shape[1] : 1;
  const auto element = static_cast<std::int64_t>(dtype_size(slice.dtype));
  const std::vector<float> scales = row_scales(spec);
  if (!stored.transposed) {
    slice.bytes = slice.bytes.subspan(static_cast<std::size_t>(stored.row_begin * columns * element),
                                      static_cast<std::size_t>(rows * columns * element));
    slice.shape = spec.shape;
    values_of(slice, out);
  } else {
    // Stored [columns, total]: each stored row holds one column of every wanted row, side by side.
    const std::int64_t total = slice.shape[1];
    TensorView segment{slice.name, slice.dtype, {rows}, {}};
    std::vector<float> values(static_cast<std::size_t>(rows));
    for (std::int64_t column = 0; column < columns; ++column) {
      segment.bytes =
          slice.bytes.subspan(static_cast<std::size_t>((column * total + stored.row_begin) * element),
                              static_cast<std::size_t>(rows * element));
      values_of(segment, values.data());
      for (std::int64_t row = 0; row < rows; ++row)
        out[row * columns + column] = values[static_cast<std::size_t>(row)];
    }
  }
  if (scales.empty()) return;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      out[row * columns + column] *= scales[static_cast<std::size_t>(row)];
}

std::vector<float> ModelFolder::load(const ParameterSpec& spec) const {
  std::int64_t count = 1;
  for (const std::int64_t size : spec.shape) count *= size;
  StoredTensor stored;
  find_stored(spec, stored);  // the file vouches for the size before it is allocated
  std::vector<float> values(static_cast<std::size_t>(count));
  load(spec, values.data());
  return values;
}

void ModelFolder::check_weights() const {
  const TensorSource& source = weights();
  std::unordered_set<std::string> used;
  std::string embedding;
  for (const ParameterSpec& spec : parameter_specs(config_)) {
    StoredTensor stored;
    const TensorView& tensor = find_stored(spec, stored);
    used.insert(stored.name);
    if (embedding.empty()) embedding = stored.name;
    if (tensor.dtype == DType::i8) {
      row_scales(spec);
      used.insert(stored.name + kScaleSuffix);
      continue;
    }
    if (tensor.dtype != DType::f64 && tensor.dtype != DType::f32 && tensor.dtype != DType::f16 &&
        tensor.dtype != DType::bf16)
      throw Error({.where = source.where(), .found = tensor.describe(), .expected = "floating-point values"});
  }
  for (const TensorView& tensor : source.tensors()) {
    if (used.contains(tensor.name) || family_->ignorable(tensor.name)) continue;
    if (config_.tie_word_embeddings && tensor.name == "lm_head.weight") {
      const TensorView& tied = source.get(embedding);
      if (tensor.dtype == tied.dtype &&
          std::equal(tensor.bytes.begin(), tensor.bytes.end(), tied.bytes.begin(), tied.bytes.end()))
        continue;
      throw Error(
          {.where = source.where(),
           .found = "an lm_head.weight that differs from the embedding",
           .expected = "the same values, as tie_word_embeddings says",
           .advice = "Set tie_word_embeddings to false in config.json if the model has a head of its own."});
    }
    throw Error({.where = source.where(),
                 .found = "the tensor " + tensor.describe(),
                 .expected = "only parameters of a " + config_.model_type + " model",
                 .advice = "Ignoring it could change the model's answers."});
  }
}

}  // namespace retort
