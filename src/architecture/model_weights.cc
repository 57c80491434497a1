#include "architecture/model_weights.h"

#include <cstring>

#include "architecture/gguf_model.h"
#include "architecture/model_folder.h"
#include "base/error.h"
#include "formats/gguf_layout.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

std::shared_ptr<const std::vector<std::byte>> transposed(std::span<const std::byte> stored,
                                                         std::int64_t total, std::int64_t begin,
                                                         const std::vector<std::int64_t>& shape,
                                                         std::size_t element) {
  const std::int64_t rows = shape[0], columns = shape[1];
  auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(rows * columns) * element);
  for (std::int64_t column = 0; column < columns; ++column)
    for (std::int64_t row = 0; row < rows; ++row)
      std::memcpy(bytes->data() + static_cast<std::size_t>(row * columns + column) * element,
                  stored.data() + static_cast<std::size_t>(column * total + begin + row) * element, element);
  return bytes;
}

class FolderWeights : public ModelWeights {
 public:
  explicit FolderWeights(const fs::path& path) : folder_(path) {
    const Json quantization = folder_.config().hf_config.value("quantization_config", Json());
    if (!quantization.is_object()) return;
    activation_limit_ = json_get_or<double>(quantization, "activation_limit", 0, where());
    activation_limits_ = quantization.value("activation_limits", Json::object());
  }

  const ModelConfig& config() const override { return folder_.config(); }
  void check() const override { folder_.check_weights(); }
  std::string where() const override { return folder_.path().string(); }

  EncodedTensor get(const ParameterSpec& spec) const override {
    StoredTensor stored;
    const TensorView& view = folder_.find_stored(spec, stored);
    EncodedTensor tensor{.name = spec.name, .shape = spec.shape, .encoding = nullptr, .bytes = {}};
    if (view.dtype == DType::i8) {
      tensor.encoding = &kI8Channel;
      tensor.row_scales = folder_.row_scales(spec);
      tensor.activation_limit =
          static_cast<float>(json_get_or<double>(activation_limits_, spec.name, activation_limit_, where()));
    } else {
      tensor.encoding = encoding_of(view.dtype);
    }
    if (tensor.encoding == nullptr) {  // f64; integers are refused by load
      const std::vector<float> values = folder_.load(spec);
      auto bytes = std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float));
      if (!values.empty()) std::memcpy(bytes->data(), values.data(), bytes->size());
      tensor.encoding = encoding_of(DType::f32);
      tensor.owned = std::move(bytes);
      tensor.bytes = *tensor.owned;
      return tensor;
    }
    const auto element = static_cast<std::size_t>(tensor.encoding->bytes_per_block);
    if (stored.transposed) {
      tensor.owned = transposed(view.bytes, view.shape[1], stored.row_begin, spec.shape, element);
      tensor.bytes = *tensor.owned;
    } else {
      const std::size_t row = (spec.shape.size() > 1 ? static_cast<std::size_t>(spec.shape[1]) : 1) * element;
      tensor.bytes = view.bytes.subspan(static_cast<std::size_t>(stored.row_begin) * row,
                                        static_cast<std::size_t>(spec.shape[0]) * row);
    }
    return tensor;
  }

 private:
  ModelFolder folder_;
  double activation_limit_ = 0;
  Json activation_limits_ = Json::object();
};

}  // namespace

void EncodedTensor::decode(float* out) const {
  const std::int64_t count = rows() * columns();
  encoding->decode(bytes.data(), {out, static_cast<std::size_t>(count)});
  if (row_scales.empty()) return;
  for (std::int64_t i = 0; i < count; ++i) out[i] *= row_scales[static_cast<std::size_t>(i / columns())];
}

std::vector<float> ModelWeights::load(const ParameterSpec& spec) const {
  const EncodedTensor tensor = get(spec);
  std::vector<float> values(static_cast<std::size_t>(tensor.rows() * tensor.columns()));
  tensor.decode(values.data());
  return values;
}

std::unique_ptr<ModelWeights> open_model_weights(const fs::path& path) {
  if (looks_like_gguf(path)) return gguf_weights(std::make_shared<GgufFile>(path));
  if (fs::exists(path) && !fs::is_directory(path))
    throw Error({.where = path.string(),
                 .found = "a file",
                 .expected = "a model folder, or a GGUF file",
                 .advice = "Name the folder that holds config.json."});
  return std::make_unique<FolderWeights>(path);
}

std::uint64_t weight_bytes(const fs::path& path) {
  std::uint64_t bytes = 0;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
    return bytes;
  }
  const auto shard = parse_shard_name(path.filename().string());
  if (!shard) return fs::file_size(path);
  for (int i = 1; i <= shard->count; ++i)
    bytes += fs::file_size(path.parent_path() / shard_name(shard->stem, i, shard->count));
  return bytes;
}

}  // namespace retort
