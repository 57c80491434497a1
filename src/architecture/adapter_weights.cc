#include "architecture/adapter_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "architecture/gguf_adapter.h"
#include "base/error.h"
#include "formats/gguf.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

void check_rank(std::int64_t rank, std::int64_t in, std::int64_t out, const std::string& where) {
  if (rank < 1 || rank > std::min(in, out))
    throw Error({.where = where,
                 .found = fmt::format("a rank of {}", rank),
                 .expected = fmt::format("1 … {}, the width of the layer", std::min(in, out))});
}

[[noreturn]] void refuse_to_add(const std::string& where, std::string found) {
  throw Error({.where = where,
               .found = std::move(found),
               .expected = "plain LoRA or a prefix, which can be added to a running model",
               .advice = "Merge it into its base first: retort merge."});
}

std::vector<float> finite(std::vector<float> values, const std::string& where) {
  for (const float value : values)
    if (!std::isfinite(value))
      throw Error({.where = where,
                   .found = fmt::format("{}", value),
                   .expected = "finite numbers",
                   .advice = "The file is damaged, or its training diverged."});
  return values;
}

// A module's matrices, dealt out to the parameters that its rows make up.
void read_module(const AdapterFolder& folder, const LinearModule& module,
                 const std::vector<ParameterSpec>& specs, AdapterWeights& adapter) {
  const std::string name_a = kAdapterPrefix + module.name + ".lora_A.weight";
  const std::string name_b = kAdapterPrefix + module.name + ".lora_B.weight";
  const TensorView& stored_a = folder.tensors->get(name_a);
  const std::int64_t rank = stored_a.shape.empty() ? 0 : stored_a.shape.front();
  check_rank(rank, module.in_features, module.out_features, folder.tensors->where() + ": " + name_a);
  const std::vector<float> a = finite(folder.load(name_a, {rank, module.in_features}), name_a);
  const std::vector<float> b = finite(folder.load(name_b, {module.out_features, rank}), name_b);
  std::int64_t row = 0;
  for (const std::string& parameter : module.parameters) {
    const auto spec = std::find_if(specs.begin(), specs.end(),
                                   [&](const ParameterSpec& other) { return other.name == parameter; });
    const std::int64_t out = spec->shape[0];
    adapter.lora.push_back({.parameter = parameter,
                            .rank = rank,
                            .in = module.in_features,
                            .out = out,
                            .a = a,
                            .b = {b.begin() + row * rank, b.begin() + (row + out) * rank},
                            .scale = folder.config.scale(rank)});
    row += out;
  }
}

AdapterWeights read_folder(const fs::path& path, const ModelConfig& model) {
  const AdapterFolder folder(path);
  AdapterWeights adapter{.where = path.string(), .lora = {}, .virtual_tokens = 0, .prefix = {}};
  if (folder.config.kind == AdapterConfig::Kind::prefix) {
    std::int64_t width = 0;
    for (const LayerConfig& layer : model.layers) width += 2 * layer.num_key_value_heads * model.head_dim;
    if (folder.config.virtual_tokens >= model.max_position_embeddings)
      throw Error({.where = adapter.where + ": num_virtual_tokens",
                   .found = fmt::format("{}", folder.config.virtual_tokens),
                   .expected = fmt::format("fewer than the context of {}", model.max_position_embeddings)});
    adapter.virtual_tokens = folder.config.virtual_tokens;
    adapter.prefix = finite(folder.load(kPrefixTensor, {adapter.virtual_tokens, width}),
                            adapter.where + ": " + kPrefixTensor);
    return adapter;
  }
  if (folder.config.dora) refuse_to_add(adapter.where + ": use_dora", "true");
  if (!folder.config.trained.empty())
    refuse_to_add(adapter.where + ": modules_to_save", "'" + folder.config.trained.front() + "'");
  const std::vector<ParameterSpec> specs = parameter_specs(model);
  std::set<std::string> known;
  for (const LinearModule& module :
       match_modules(linear_modules(model), folder.config.targets, adapter.where + ": target_modules")) {
    read_module(folder, module, specs, adapter);
    for (const char* what : {".lora_A.weight", ".lora_B.weight"})
      known.insert(kAdapterPrefix + module.name + what);
  }
  for (const TensorView& tensor : folder.tensors->tensors())
    if (!known.contains(tensor.name))
      throw Error({.where = folder.tensors->where(),
                   .found = "the tensor " + tensor.describe(),
                   .expected = "only those of target_modules in this model",
                   .advice = "The adapter belongs to another base model, or its config is another's."});
  return adapter;
}

}  // namespace

AdapterWeights open_adapter_weights(const fs::path& path, const ModelConfig& model) {
  if (!looks_like_gguf(path)) return read_folder(path, model);
  AdapterWeights adapter = read_gguf_adapter(path, model);
  for (LoraPart& part : adapter.lora) {
    const std::string where = adapter.where + ": " + part.parameter;
    check_rank(part.rank, part.in, part.out, where);
    part.a = finite(std::move(part.a), where);
    part.b = finite(std::move(part.b), where);
  }
  return adapter;
}

}  // namespace retort
