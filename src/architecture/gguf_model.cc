// Parameters in a GGUF file: where they lie, and how they are written.
#include "architecture/gguf_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "architecture/canonical_name.h"
#include "architecture/gguf_names.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace retort {
namespace {

constexpr const char* kRopeName = "rope_freqs.weight";

std::int64_t rows_of(const ParameterSpec& spec) { return spec.shape[0]; }

class GgufWeights : public ModelWeights {
 public:
  explicit GgufWeights(std::shared_ptr<const GgufFile> file)
      : file_(std::move(file)), config_(config_of_gguf(*file_)) {
    for (GgufParameter& stored : gguf_parameters(config_)) {
      const auto shared = std::make_shared<const GgufParameter>(std::move(stored));
      std::int64_t begin = 0;
      for (const ParameterSpec& part : shared->parts) {
        places_.emplace(part.name, Place{shared, begin});
        begin += rows_of(part);
      }
    }
  }

  const ModelConfig& config() const override { return config_; }
  std::string where() const override { return file_->where(); }

  EncodedTensor get(const ParameterSpec& spec) const override {
    const auto found = places_.find(spec.name);
    if (found == places_.end())
      throw Error({.where = where(), .found = "no parameter '" + spec.name + "' in this architecture"},
                  ErrorKind::failure);
    const Place& place = found->second;
    const TensorView& view = stored_tensor(*place.stored);
    EncodedTensor tensor{.name = spec.name,
                         .shape = spec.shape,
                         .encoding = view.encoding != nullptr ? view.encoding : encoding_of(view.dtype),
                         .bytes = {}};
    const std::int64_t columns = spec.shape.size() > 1 ? spec.shape[1] : 1;
    const auto row_bytes = static_cast<std::size_t>(tensor.encoding->byte_size(columns));
    tensor.bytes = view.bytes.subspan(static_cast<std::size_t>(place.row_begin) * row_bytes,
                                      static_cast<std::size_t>(rows_of(spec)) * row_bytes);
    if (place.stored->interleaved_heads > 0) {
      const std::int64_t head_rows = rows_of(spec) / place.stored->interleaved_heads;
      auto bytes = std::make_shared<std::vector<std::byte>>(tensor.bytes.size());
      for (std::int64_t row = 0; row < rows_of(spec); ++row)
        std::memcpy(
            bytes->data() + static_cast<std::size_t>(row) * row_bytes,
            tensor.bytes.data() + static_cast<std::size_t>(interleaved_row(row, head_rows)) * row_bytes,
            row_bytes);
      tensor.owned = std::move(bytes);
      tensor.bytes = *tensor.owned;
    }
    return tensor;
  }

  void check() const override {
    std::unordered_set<std::string> used = {kRopeName};
    if (config_.tie_word_embeddings) used.insert("output.weight");  // config_of_gguf compared it
    for (const auto& [name, place] : places_) {
      stored_tensor(*place.stored);
      used.insert(place.stored->name);
    }
    for (const TensorView& tensor : file_->tensors())
      if (!used.contains(tensor.name))
        throw Error({.where = where(),
                     .found = "the tensor " + tensor.describe(),
                     .expected = "only parameters of a " + config_.model_type + " model",
                     .advice = "Ignoring it could change the model's answers."});
  }

 private:
  struct Place {
    std::shared_ptr<const GgufParameter> stored;
    std::int64_t row_begin;
  };

  const TensorView& stored_tensor(const GgufParameter& stored) const {
    const TensorView& view = file_->get(stored.name);
    const TensorView expected{stored.name, view.dtype, stored.shape, {}, view.encoding};
    if (view.shape != stored.shape)
      throw Error({.where = where(),
                   .found = view.describe(),
                   .expected = expected.describe(),
                   .advice = "The file's metadata and its tensors do not belong together."});
    if (view.encoding == nullptr && encoding_of(view.dtype) == nullptr)
      throw Error({.where = where(), .found = view.describe(), .expected = "weights"});
    // Its parts are taken value by value.
    if (view.shape.size() < 2 && view.encoding != nullptr && view.encoding->block_size > 1)
      throw Error({.where = where(),
                   .found = view.describe(),
                   .expected = "a norm or a bias in f32, f16 or bf16",
                   .advice = "Convert the model again: only matrices can be in blocks."});
    return view;
  }

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unordered_map<std::string, Place> places_;
};

// Canonical values of the parts, put together as the file has them.
std::vector<float> stored_values(const GgufParameter& stored, const ParameterReader& read) {
  std::vector<float> values;
  for (const ParameterSpec& part : stored.parts) {
    const std::vector<float> more = read(part);
    values.insert(values.end(), more.begin(), more.end());
  }
  if (stored.interleaved_heads == 0) return values;
  const std::int64_t rows = stored.shape[0], head_rows = rows / stored.interleaved_heads;
  const std::size_t columns = values.size() / static_cast<std::size_t>(rows);
  std::vector<float> interleaved(values.size());
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(values.begin() + row * static_cast<std::ptrdiff_t>(columns), columns,
                interleaved.begin() + interleaved_row(row, head_rows) * static_cast<std::ptrdiff_t>(columns));
  return interleaved;
}

// Rows shared out over threads.
void encode_in_parallel(const Encoding& encoding, std::span<const float> values, std::int64_t columns,
                        std::span<const float> importance, std::span<std::byte> blocks, unsigned threads,
                        const std::string& where) {
  const auto rows = static_cast<std::int64_t>(values.size()) / columns;
  ThreadPool pool(
      static_cast<int>(std::clamp<std::int64_t>(threads, 1, std::max<std::int64_t>(1, rows / 16))));
  pool.parallel_for(
      rows, (rows + pool.threads() - 1) / pool.threads(), [&](std::int64_t begin, std::int64_t end, int) {
        encode_rows(encoding,
                    values.subspan(static_cast<std::size_t>(begin * columns),
                                   static_cast<std::size_t>((end - begin) * columns)),
                    columns, importance, blocks.data() + encoding.byte_size(begin * columns), where);
      });
}

}  // namespace

std::int64_t interleaved_row(std::int64_t row, std::int64_t head_rows) {
  const std::int64_t half = head_rows / 2, within = row % head_rows;
  return row - within + 2 * (within % half) + within / half;
}

std::vector<GgufParameter> gguf_parameters(const ModelConfig& config) {
  const GgufArchitecture& architecture = architecture_of(config.model_type, "GGUF");
  std::vector<GgufParameter> list;
  std::unordered_map<std::string, std::size_t> places;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const std::string name = gguf_name(architecture, spec.name);
    if (const auto [place, added] = places.emplace(name, list.size()); !added) {
      list[place->second].parts.push_back(spec);
      list[place->second].shape[0] += rows_of(spec);
      continue;
    }
    GgufParameter stored{.name = name, .shape = spec.shape, .parts = {spec}};
    const CanonicalName canonical = split_name(spec.name);
    if (architecture.interleaved && canonical.layer >= 0) {
      const LayerConfig& layer = config.layers[static_cast<std::size_t>(canonical.layer)];
      if (canonical.module == "self_attn.q_proj") stored.interleaved_heads = layer.num_attention_heads;
      if (canonical.module == "self_attn.k_proj") stored.interleaved_heads = layer.num_key_value_heads;
    }
    list.push_back(std::move(stored));
  }
  return list;
}

std::unique_ptr<ModelWeights> gguf_weights(std::shared_ptr<const GgufFile> file) {
  return std::make_unique<GgufWeights>(std::move(file));
}

void save_model_gguf(const std::filesystem::path& path, const ModelConfig& config,
                     const GgufMetadata& metadata, const ParameterReader& read,
                     const SaveGgufOptions& options) {
  check_config(config, path.string());
  const unsigned threads =
      options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  const Encoding& plain = *encoding_of(DType::f32);
  std::vector<GgufParameter> parameters = gguf_parameters(config);
  std::vector<const Encoding*> encodings;
  std::vector<TensorView> views;
  const auto add_view = [&](const GgufParameter& stored, const Encoding& encoding) {
    const std::optional<DType> dtype = dtype_of(encoding);
    encodings.push_back(&encoding);
    views.push_back({stored.name, dtype.value_or(DType::u8), stored.shape, {}, dtype ? nullptr : &encoding});
  };
  for (const GgufParameter& stored : parameters)
    add_view(stored, stored.shape.size() < 2 ? plain : options.encoding(stored));

  // Llama 3's scaling as llama.cpp takes it: a divisor for each rotary frequency.
  std::vector<float> divisors;
  if (config.rope_scaling.type == RopeScaling::Type::llama3) {
    ModelConfig unscaled = config;
    unscaled.rope_scaling = {};
    const std::vector<double> scaled = rope_frequencies(config), free = rope_frequencies(unscaled);
    for (std::size_t i = 0; i < scaled.size(); ++i)
      divisors.push_back(static_cast<float>(free[i] / scaled[i]));
    parameters.push_back(
        {.name = kRopeName, .shape = {static_cast<std::int64_t>(divisors.size())}, .parts = {}});
    add_view(parameters.back(), plain);
  }

  std::size_t next = 0;  // tensors are asked for in order
  write_gguf(path, metadata, views, options.file, [&](const TensorView& view) {
    const GgufParameter& stored = parameters[next];
    const Encoding& encoding = *encodings[next++];
    const std::vector<float> values = stored.parts.empty() ? divisors : stored_values(stored, read);
    if (static_cast<std::int64_t>(values.size()) != view.element_count())
      throw Error({.where = view.describe(), .found = fmt::format("{} values", values.size())},
                  ErrorKind::failure);
    const std::span<const float> importance =
        options.importance && view.shape.size() > 1 ? options.importance(stored) : std::span<const float>();
    std::vector<std::byte> blocks(static_cast<std::size_t>(view.byte_size()));
    encode_in_parallel(encoding, values, view.shape.back(), importance, blocks, threads,
                       path.string() + ": " + view.name);
    if (options.written) options.written(stored, encoding, values, blocks);
    return blocks;
  });
}

}  // namespace retort
