#include "compress/shrink/layers.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace {

constexpr const char* kPrefix = "model.layers.";

void check_layers(const std::vector<std::int64_t>& layers, std::int64_t total) {
  const std::string range = "layers between 0 and " + std::to_string(total - 1) + ", in ascending order";
  if (layers.empty()) throw Error({.where = "layers", .found = "none", .expected = range, .advice = ""});
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i] < 0 || layers[i] >= total || (i > 0 && layers[i] <= layers[i - 1]))
      throw Error({.where = "layers",
                   .found = std::to_string(layers[i]) + " at place " + std::to_string(i + 1),
                   .expected = range,
                   .advice = ""});
}

// "model.layers.1.mlp…" of the student is "model.layers.<layers[1]>.mlp…" of the teacher.
std::string original_name(const std::string& name, const std::vector<std::int64_t>& layers) {
  const std::string prefix = kPrefix;
  if (name.rfind(prefix, 0) != 0) return name;
  const std::size_t dot = name.find('.', prefix.size());
  const auto index = static_cast<std::size_t>(std::stoll(name.substr(prefix.size(), dot - prefix.size())));
  return prefix + std::to_string(layers[index]) + name.substr(dot);
}

}  // namespace

std::vector<std::int64_t> spread_layers(std::int64_t total, std::int64_t count) {
  if (count < 1 || count > total)
    throw Error({.where = "num_layers",
                 .found = std::to_string(count),
                 .expected = "between 1 and " + std::to_string(total),
                 .advice = ""});
  std::vector<std::int64_t> layers;
  for (std::int64_t i = 0; i < count; ++i)
    layers.push_back(
        count == 1 ? 0 : std::llround(static_cast<double>(i * (total - 1)) / static_cast<double>(count - 1)));
  return layers;
}

void keep_layers(const ModelFolder& folder, const std::vector<std::int64_t>& layers,
                 const std::filesystem::path& out) {
  check_layers(layers, folder.config().num_hidden_layers());
  folder.check_weights();
  ModelConfig config = folder.config();
  config.layers.clear();
  for (const std::int64_t layer : layers)
    config.layers.push_back(folder.config().layers[static_cast<std::size_t>(layer)]);
  AtomicFolder target(out);
  const auto read = [&](const ParameterSpec& spec) {
    std::int64_t count = 1;
    for (const std::int64_t size : spec.shape) count *= size;
    std::vector<float> values(static_cast<std::size_t>(count));
    folder.load({original_name(spec.name, layers), spec.shape}, values.data());
    return values;
  };
  const DType stored = folder.weights().tensors().front().dtype;
  save_model_folder(target.path(), config, read,
                    {.dtype = stored, .max_shard_bytes = 0, .tokenizer_from = folder.path()});
  target.commit();
}

}  // namespace retort
