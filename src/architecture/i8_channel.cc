#include "architecture/i8_channel.h"

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "architecture/canonical_name.h"
#include "architecture/save_plan.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/encodings/row_magnitude.h"
#include "formats/safetensors.h"

namespace retort {
namespace {

constexpr const char* kScaleNameEnd = "_scale";

bool is_quantized(const ParameterSpec& spec) {
  return spec.shape.size() == 2 && split_name(spec.name).module != "model.embed_positions";
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

class Saver {
 public:
  Saver(const ModelConfig& config, const ParameterReader& read, const I8ChannelOptions& options)
      : plan_(make_save_plan(config, find_family(config.model_type, "i8_channel"), DType::f32)),
        read_(read),
        options_(options) {}

  void write(const std::filesystem::path& folder) {
    std::vector<TensorView> views;
    for (const TensorView& view : plan_.tensors) {
      const std::vector<SavePlan::Piece>& pieces = plan_.pieces.at(view.name);
      if (!is_quantized(pieces.front().spec)) {
        views.push_back(view);
        continue;
      }
      const bool transposed = pieces.front().stored.transposed;
      const std::string scale_name = view.name + kScaleNameEnd;
      scales_of_[scale_name] = &view;
      views.push_back({view.name, DType::i8, view.shape, {}});
      views.push_back({scale_name, DType::f32, {view.shape[transposed ? 1 : 0]}, {}});
    }
    write_safetensors_folder(folder, views, {}, [&](const TensorView& view) {
      if (const auto scales = scales_of_.find(view.name); scales != scales_of_.end())
        return bytes_of(encode(*scales->second).scales);
      if (view.dtype == DType::i8) return bytes_of(encode(view).codes);
      return bytes_of(plan_.values(view, read_));
    });
  }

 private:
  struct Encoded {
    std::vector<std::int8_t> codes;
    std::vector<float> scales;
  };

  Encoded encode(const TensorView& view) {
    const auto rows = static_cast<std::size_t>(view.shape[0]),
               columns = static_cast<std::size_t>(view.shape[1]);
    const std::vector<SavePlan::Piece>& pieces = plan_.pieces.at(view.name);
    const bool transposed = pieces.front().stored.transposed;
    Encoded encoded{std::vector<std::int8_t>(rows * columns),
                    std::vector<float>(transposed ? columns : rows)};
    for (const SavePlan::Piece& piece : pieces) {
      const std::vector<float> values = read_(piece.spec);
      const auto channels = static_cast<std::size_t>(piece.spec.shape[0]),
                 inputs = static_cast<std::size_t>(piece.spec.shape[1]);
      const auto begin = static_cast<std::size_t>(piece.stored.row_begin);
      std::vector<std::int8_t> codes(values.size());
      const auto scales = std::span(encoded.scales).subspan(begin, channels);
      encode_i8_rows(values, piece.spec.shape[1], codes, scales);
      for (std::size_t channel = 0; channel < channels; ++channel)
        for (std::size_t input = 0; input < inputs; ++input)
          encoded
              .codes[transposed ? input * columns + begin + channel : (begin + channel) * columns + input] =
              codes[channel * inputs + input];
      if (options_.written && reported_.insert(piece.spec.name).second) {
        std::vector<float> after(values.size());
        for (std::size_t i = 0; i < after.size(); ++i)
          after[i] = scales[i / inputs] * static_cast<float>(codes[i]);
        options_.written(piece.spec, values, after);
      }
    }
    return encoded;
  }

  SavePlan plan_;
  const ParameterReader& read_;
  const I8ChannelOptions& options_;
  std::map<std::string, const TensorView*> scales_of_;
  std::set<std::string> reported_;
};

}  // namespace

void encode_i8_rows(std::span<const float> values, std::int64_t columns, std::span<std::int8_t> codes,
                    std::span<float> scales) {
  const auto width = static_cast<std::size_t>(columns);
  for (std::size_t row = 0; row < scales.size(); ++row) {
    const auto x = values.subspan(row * width, width);
    const float largest = largest_magnitude(x, "i8_channel");
    const float scale = largest / 127, inverse = 1 / scale;
    scales[row] = scale;
    const bool tiny = !std::isfinite(inverse);  // all zeros, or as good as
    for (std::size_t i = 0; i < width; ++i)
      codes[row * width + i] = static_cast<std::int8_t>(tiny ? 0 : std::lround(x[i] * inverse));
  }
}

void save_i8_folder(const std::filesystem::path& folder, const ModelConfig& config,
                    const ParameterReader& read, const I8ChannelOptions& options) {
  check_config(config, folder.string());
  Json json = find_family(config.model_type, folder.string()).to_json(config);
  json.erase("dtype");
  json["torch_dtype"] = "float32";
  json["quantization_config"] = {{"quant_method", "i8_channel"},
                                 {"activation_limit", options.activation_limit}};
  if (!options.activation_limits.empty())
    json["quantization_config"]["activation_limits"] = options.activation_limits;
  Saver(config, read, options).write(folder);
  write_json(folder / "config.json", json);
  write_generation_config(folder, config);
}

}  // namespace retort
