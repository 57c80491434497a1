#include "architecture/gguf_adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "architecture/canonical_name.h"
#include "architecture/gguf_model.h"
#include "architecture/gguf_names.h"
#include "base/error.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char *kSuffixA = ".lora_a", *kSuffixB = ".lora_b";
constexpr const char* kAlphaKey = "adapter.lora.alpha";
constexpr const char* kAnotherBase = "The adapter belongs to another base model.";

// The base's tensors that LoRA may stand beside, by their names in a file.
std::map<std::string, GgufParameter> adaptable(const ModelConfig& model) {
  std::map<std::string, GgufParameter> tensors;
  for (GgufParameter& tensor : gguf_parameters(model))
    if (tensor.shape.size() == 2 && split_name(tensor.parts.front().name).layer >= 0)
      tensors.emplace(tensor.name, std::move(tensor));
  return tensors;
}

// B's rows between canonical order and the file's.
std::vector<float> reordered(const std::vector<float>& b, const GgufParameter& tensor, std::int64_t rank,
                             bool to_file) {
  if (tensor.interleaved_heads == 0) return b;
  const std::int64_t head_rows = tensor.shape[0] / tensor.interleaved_heads;
  std::vector<float> result(b.size());
  for (std::int64_t row = 0; row < tensor.shape[0]; ++row) {
    const std::int64_t stored = interleaved_row(row, head_rows);
    std::copy_n(b.begin() + (to_file ? row : stored) * rank, rank,
                result.begin() + (to_file ? stored : row) * rank);
  }
  return result;
}

void expect_text(const GgufFile& file, const char* key, std::string_view expected, const char* advice) {
  if (const std::string found = file.text(key); found != expected)
    throw Error({.where = file.where() + ": " + key,
                 .found = "'" + found + "'",
                 .expected = "'" + std::string(expected) + "'",
                 .advice = advice});
}

}  // namespace

AdapterWeights read_gguf_adapter(const fs::path& path, const ModelConfig& model) {
  const GgufFile file(path);
  expect_text(file, "general.type", "adapter", "Give an adapter, not a model.");
  expect_text(file, "adapter.type", "lora", "This kind of adapter is not supported.");
  expect_text(file, "general.architecture", architecture_of(model.model_type, "model").name, kAnotherBase);
  const double alpha = file.number(kAlphaKey);
  const auto bases = adaptable(model);
  AdapterWeights adapter{.where = file.where(), .lora = {}, .virtual_tokens = 0, .prefix = {}};
  for (const TensorView& view : file.tensors()) {
    const bool is_a = view.name.ends_with(kSuffixA);
    const std::string name = view.name.substr(0, view.name.rfind('.'));
    const auto base = bases.find(name);
    if ((!is_a && !view.name.ends_with(kSuffixB)) || base == bases.end())
      throw Error({.where = file.where(),
                   .found = "the tensor " + view.describe(),
                   .expected = fmt::format("{} and {} of linear layers of this model", kSuffixA, kSuffixB),
                   .advice = kAnotherBase});
    const TensorView& partner = file.get(name + (is_a ? kSuffixB : kSuffixA));
    if (!is_a) continue;
    const GgufParameter& tensor = base->second;
    const std::int64_t rank = view.shape.empty() ? 0 : view.shape.front();
    const auto expect = [&](const TensorView& found, const std::vector<std::int64_t>& shape) {
      if (found.shape != shape)
        throw Error({.where = file.where(),
                     .found = found.describe(),
                     .expected = fmt::format("[{}]", fmt::join(shape, ", ")),
                     .advice = kAnotherBase});
    };
    expect(view, {rank, tensor.shape[1]});
    expect(partner, {tensor.shape[0], rank});
    const std::vector<float> a = to_float(view);
    const std::vector<float> b = reordered(to_float(partner), tensor, rank, /*to_file=*/false);
    std::int64_t row = 0;
    for (const ParameterSpec& spec : tensor.parts) {
      const std::int64_t out = spec.shape[0];
      adapter.lora.push_back({.parameter = spec.name,
                              .rank = rank,
                              .in = tensor.shape[1],
                              .out = out,
                              .a = a,
                              .b = {b.begin() + row * rank, b.begin() + (row + out) * rank},
                              // As llama.cpp: without an alpha nothing is scaled.
                              .scale = alpha == 0 ? 1 : alpha / static_cast<double>(rank)});
      row += out;
    }
  }
  if (adapter.lora.empty())
    throw Error({.where = file.where(), .found = "no tensors", .expected = "an adapter's"});
  return adapter;
}

void write_gguf_adapter(const fs::path& path, const AdapterWeights& adapter, const ModelConfig& model) {
  if (adapter.lora.empty())
    throw Error({.where = adapter.where,
                 .found = "a prefix",
                 .expected = "LoRA: a GGUF adapter has no place for keys and values"});
  // One alpha stands for all; where another scale is meant, B takes the difference.
  const LoraPart& first = adapter.lora.front();
  const double alpha = first.scale == 0 ? 1 : first.scale * static_cast<double>(first.rank);
  GgufMetadata metadata;
  metadata.set_text("general.architecture", architecture_of(model.model_type, "model").name);
  metadata.set_text("general.type", "adapter");
  metadata.set_text("adapter.type", "lora");
  metadata.set_f32(kAlphaKey, alpha);
  std::vector<AdapterTensor> tensors;
  for (const auto& [name, tensor] : adaptable(model)) {
    std::vector<float> b;
    const LoraPart* part = nullptr;
    std::size_t found = 0;
    for (const ParameterSpec& spec : tensor.parts)
      for (const LoraPart& candidate : adapter.lora)
        if (candidate.parameter == spec.name) {
          if (part != nullptr && part->a != candidate.a)
            throw Error({.where = adapter.where + ": " + candidate.parameter,
                         .found = "another A than its neighbour's",
                         .expected = "one, as the two are one tensor in GGUF"});
          part = &candidate;
          ++found;
          const auto factor = static_cast<float>(part->scale * static_cast<double>(part->rank) / alpha);
          for (const float value : part->b) b.push_back(value * factor);
        }
    if (found == 0) continue;
    if (found != tensor.parts.size())
      throw Error({.where = adapter.where + ": " + part->parameter,
                   .found = "a part of the tensor " + name,
                   .expected = "all of it, as GGUF has it in one"});
    tensors.push_back({name + kSuffixA, {part->rank, part->in}, part->a});
    tensors.push_back(
        {name + kSuffixB, {tensor.shape[0], part->rank}, reordered(b, tensor, part->rank, /*to_file=*/true)});
  }
  std::vector<TensorView> views;
  for (const AdapterTensor& tensor : tensors)
    views.push_back({tensor.name, DType::f32, tensor.shape, std::as_bytes(std::span(tensor.values))});
  write_gguf(path, metadata, views);
}

}  // namespace retort
