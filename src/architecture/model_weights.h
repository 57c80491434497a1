// A model's parameters as they are stored: canonical names and shapes, in whatever encoding the file holds.
// One door to a GGUF file and to a Hugging Face folder; the engine and the converters come through it.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "architecture/model_config.h"
#include "formats/encodings/encoding.h"

namespace retort {

struct EncodedTensor {
  std::string name;                 // canonical
  std::vector<std::int64_t> shape;  // canonical: [rows, columns] of a linear weight, [size] of a norm or bias
  const Encoding* encoding = nullptr;
  std::span<const std::byte> bytes;  // row after row, row_bytes() each; may be unaligned
  // Only of i8_channel, one for each row: value = row_scales[row] * int8.
  std::vector<float> row_scales = {};
  // Of i8_channel: the layer's inputs are clamped to [-limit, limit] and rounded to 8 bits; 0 = their own
  // largest value is.
  float activation_limit = 0;
  // Holds `bytes` when they had to be rearranged; null: they lie in the mapped file and live as long as the
  // ModelWeights.
  std::shared_ptr<const std::vector<std::byte>> owned = nullptr;

  std::int64_t rows() const { return shape.size() < 2 ? 1 : shape.front(); }
  std::int64_t columns() const { return shape.back(); }
  std::size_t row_bytes() const { return static_cast<std::size_t>(encoding->byte_size(columns())); }
  // rows() * columns() values; through the row scales, if there are any.
  void decode(float* out) const;
};

class ModelWeights {
 public:
  virtual ~ModelWeights() = default;
  virtual const ModelConfig& config() const = 0;
  // The parameter in canonical layout (q and k not permuted, no transposes, no position offset). Throws Error
  // when the file lacks it or has another shape.
  virtual EncodedTensor get(const ParameterSpec& spec) const = 0;
  // Every parameter is there, and nothing that is not a parameter: Error naming the first that is not so.
  virtual void check() const = 0;
  virtual std::string where() const = 0;

  std::vector<float> load(const ParameterSpec& spec) const;
};

// A .gguf file (any shard of a split one), or a folder with config.json.
std::unique_ptr<ModelWeights> open_model_weights(const std::filesystem::path& path);
// Bytes of the files that hold the weights: of all shards, of a folder's .safetensors.
std::uint64_t weight_bytes(const std::filesystem::path& path);

}  // namespace retort
