#include "architecture/importance.h"

#include <cmath>

#include "base/error.h"
#include "formats/safetensors.h"

namespace retort {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

void check(const std::vector<float>& values, const std::string& where) {
  for (const float value : values)
    if (!(value >= 0) || !std::isfinite(value))
      throw Error({.where = where,
                   .found = std::to_string(value),
                   .expected = "finite numbers from 0",
                   .advice = ""});
}

}  // namespace

std::span<const float> Importance::of(const GgufParameter& stored, const ModelConfig& config) const {
  auto found = moments_.find(stored.name);
  if (found == moments_.end()) found = moments_.find(stored.parts.front().name);
  // A tied head: what matters is what the head is multiplied with.
  if (found == moments_.end() && stored.name == "token_embd.weight" && config.tie_word_embeddings) {
    found = moments_.find("output.weight");
    if (found == moments_.end()) found = moments_.find("lm_head.weight");
  }
  if (found == moments_.end()) return {};
  if (found->second.size() != static_cast<std::size_t>(stored.shape.back()))
    throw Error({.where = where_ + ": " + found->first,
                 .found = std::to_string(found->second.size()) + " values",
                 .expected = std::to_string(stored.shape.back()) + ", one for each column",
                 .advice = "The file was made with another model."});
  return found->second;
}

std::unique_ptr<Importance> open_importance(const std::filesystem::path& path) {
  std::map<std::string, std::vector<float>> moments;
  if (!looks_like_gguf(path)) {
    const auto source = open_safetensors(path);
    for (const TensorView& view : source->tensors()) {
      check(moments[view.name] = to_float(view), path.string() + ": " + view.name);
    }
    return std::make_unique<Importance>(std::move(moments), path.string());
  }
  const GgufFile file(path);
  for (const TensorView& view : file.tensors()) {
    if (!view.name.ends_with(kSums)) continue;
    const std::string name = view.name.substr(0, view.name.size() - kSums.size());
    const std::vector<float> counts = to_float(file.get(name + std::string(kCounts)));
    std::vector<float> values = to_float(view);
    if (counts.size() != 1)
      throw Error({.where = path.string() + ": " + name + std::string(kCounts),
                   .found = std::to_string(counts.size()) + " counts",
                   .expected = "one: a mixture of experts is not supported",
                   .advice = ""});
    for (float& value : values) value /= std::max(counts[0], 1.0f);
    check(values, path.string() + ": " + view.name);
    moments.emplace(name, std::move(values));
  }
  return std::make_unique<Importance>(std::move(moments), path.string());
}

}  // namespace retort
