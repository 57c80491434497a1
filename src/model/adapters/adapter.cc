#include "model/adapters/adapter.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "architecture/family.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "model/adapters/lora.h"
#include "model/adapters/prefix.h"
#include "model/parameter_pattern.h"
#include "model/transformer.h"

namespace retort {
namespace {

constexpr std::uint32_t kFirstAdapterStream = 1u << 30;  // behind those of the residual branches

at::Tensor from_values(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kFloat).view(shape);
}

at::Tensor find_parameter(const CausalLM& model, const std::string& name) {
  for (const Parameter& parameter : model.parameters())
    if (parameter.name == name) return parameter.tensor;
  return {};
}

std::string tensor_name(const LinearModule& module, const char* what) {
  return kAdapterPrefix + module.name + "." + what;
}
constexpr const char* kA = "lora_A.weight";
constexpr const char* kB = "lora_B.weight";
constexpr const char* kMagnitude = "lora_magnitude_vector";

// The parameters of modules trained whole, and where a file has them.
struct TrainedPart {
  std::string parameter;  // canonical
  StoredTensor stored;
  std::vector<std::int64_t> shape, stored_shape;
};
std::vector<TrainedPart> trained_parts(const ModelConfig& config, const std::vector<LinearModule>& modules) {
  const Family& family = find_family(config.model_type, "model_type");
  std::vector<TrainedPart> parts;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const StoredTensor stored = family.stored(config, spec.name);
    for (const LinearModule& module : modules) {
      if (stored.name != module.name + ".weight" && stored.name != module.name + ".bias") continue;
      std::vector<std::int64_t> shape = spec.shape;
      if (stored.total_rows > 0) shape[0] = stored.total_rows;
      if (stored.transposed) std::swap(shape[0], shape[1]);
      parts.push_back({spec.name, stored, spec.shape, shape});
    }
  }
  return parts;
}

struct Resolved {
  std::vector<LinearModule> targets, trained;
};
Resolved resolve(const ModelConfig& model, const AdapterConfig& config) {
  const auto modules = linear_modules(model);
  Resolved found{match_modules(modules, config.targets, "target_modules"),
                 match_modules(modules, config.trained, "modules_to_save")};
  for (const LinearModule& a : found.targets)
    for (const LinearModule& b : found.trained)
      if (a.name == b.name)
        throw Error({.where = a.name,
                     .found = "a layer both trained whole and by LoRA",
                     .expected = "one of target_modules and modules_to_save"});
  return found;
}

void attach(CausalLM& model, const LinearModule& module, const LoraWeights& lora, double dropout,
            bool trainable) {
  CausalLM::Impl& parts = model.parts();
  const auto [linear, row] = parts.find_linear(module.parameters.front());
  linear->adapt(std::make_shared<Lora>(lora, row, dropout, kFirstAdapterStream + parts.adapter_count++),
                module.name);
  if (!trainable) return;
  const auto add = [&](const char* what, const at::Tensor& tensor) {
    parts.parameters.push_back({tensor_name(module, what), tensor.set_requires_grad(true)});
  };
  add(kA, lora.a);
  add(kB, lora.b);
  if (lora.magnitude.defined()) add(kMagnitude, lora.magnitude);
}

at::Tensor uniform(const LinearModule& module, std::int64_t rank, std::uint64_t seed) {
  Random random(seed, hash64(module.name));
  const double bound = 1 / std::sqrt(static_cast<double>(module.in_features));
  at::Tensor values = at::empty({rank, module.in_features}, at::kFloat);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
  return values;
}

at::Tensor base_rows(CausalLM& model, const LinearModule& module) {
  const auto [linear, row] = model.parts().find_linear(module.parameters.front());
  return linear->rows(row, module.out_features);
}

// A folder's LoRA weights of a module, in fp32.
LoraWeights read_lora(const AdapterFolder& folder, const LinearModule& module, double weight) {
  const TensorView& a = folder.tensors->get(tensor_name(module, kA));
  const std::int64_t rank = a.shape.empty() ? 0 : a.shape.front();
  if (rank < 1)
    throw Error({.where = folder.tensors->where(), .found = a.describe(), .expected = "a rank of 1 or more"});
  const auto load = [&](const char* what, const std::vector<std::int64_t>& shape) {
    return from_values(folder.load(tensor_name(module, what), shape), shape);
  };
  LoraWeights lora{.a = load(kA, {rank, module.in_features}),
                   .b = load(kB, {module.out_features, rank}),
                   .magnitude = {},
                   .scale = folder.config.scale(rank),
                   .weight = weight};
  if (folder.config.dora) lora.magnitude = load(kMagnitude, {module.out_features});
  return lora;
}

// Every tensor of the file must belong to a module that the config names.
void check_tensors(const AdapterFolder& folder, const Resolved& found,
                   const std::vector<TrainedPart>& parts) {
  std::set<std::string> known;
  for (const LinearModule& module : found.targets)
    for (const char* what : {kA, kB, kMagnitude}) known.insert(tensor_name(module, what));
  for (const TrainedPart& part : parts) known.insert(kAdapterPrefix + part.stored.name);
  for (const TensorView& tensor : folder.tensors->tensors())
    if (!known.contains(tensor.name))
      throw Error({.where = folder.tensors->where(),
                   .found = "the tensor " + tensor.describe(),
                   .expected = "only those of target_modules and modules_to_save in this model",
                   .advice = "The adapter belongs to another base model, or its config is another's."});
}

// A trained part's own values out of the stored tensor.
at::Tensor read_trained(const AdapterFolder& folder, const TrainedPart& part) {
  at::Tensor stored =
      from_values(folder.load(kAdapterPrefix + part.stored.name, part.stored_shape), part.stored_shape);
  if (part.stored.transposed) stored = stored.t();
  return stored.narrow(0, part.stored.row_begin, part.shape[0]);
}

// Σ w · t; or TIES over the tensors' largest entries, weighted as PEFT does.
at::Tensor combine(const std::vector<at::Tensor>& deltas, const std::vector<double>& weights,
                   const MergeOptions& options) {
  if (!options.ties) {
    at::Tensor sum = at::zeros_like(deltas.front());
    for (std::size_t i = 0; i < deltas.size(); ++i) sum.add_(deltas[i], weights[i]);
    return sum;
  }
  std::vector<at::Tensor> kept;
  for (const at::Tensor& delta : deltas) {
    const auto count = static_cast<std::int64_t>(options.density * static_cast<double>(delta.numel()));
    const at::Tensor flat = delta.reshape({-1}), places = std::get<1>(flat.abs().topk(count));
    kept.push_back(at::zeros_like(flat).index_copy_(0, places, flat.index_select(0, places)).view_as(delta));
  }
  const at::Tensor stacked = at::stack(kept);
  const at::Tensor elected = at::where(stacked.sum(0) >= 0, 1.0, -1.0);
  const at::Tensor agrees = stacked.sign().eq(elected);
  at::Tensor sum = at::zeros_like(deltas.front());
  for (std::size_t i = 0; i < kept.size(); ++i)
    sum.add_(kept[i] * agrees[static_cast<std::int64_t>(i)], weights[i]);
  return sum / agrees.sum(0).clamp_min(1);
}

}  // namespace

void add_adapter(CausalLM& model, const AdapterConfig& config, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  model.set_requires_grad(false);
  if (config.kind == AdapterConfig::Kind::prefix) return add_prefix(model, config.virtual_tokens, seed);
  const Resolved found = resolve(model.config(), config);
  const auto options = at::TensorOptions(model.dtype()).device(model.device());
  for (const LinearModule& module : found.targets) {
    const std::int64_t widest = std::min(module.in_features, module.out_features);
    if (config.rank < 1 || config.rank > widest)
      throw Error({.where = "lora_rank",
                   .found = std::to_string(config.rank),
                   .expected = fmt::format("1 … {}, the width of {}", widest, module.name)});
    LoraWeights lora{.a = uniform(module, config.rank, seed).to(options),
                     .b = at::zeros({module.out_features, config.rank}, options),
                     .magnitude = {},
                     .scale = config.scale(config.rank)};
    if (config.dora) lora.magnitude = dora_norm(lora, base_rows(model, module)).to(options);
    attach(model, module, lora, config.dropout, /*trainable=*/true);
  }
  for (const TrainedPart& part : trained_parts(model.config(), found.trained))
    find_parameter(model, part.parameter).set_requires_grad(true);
}

void add_adapter(CausalLM& model, const AdapterFolder& folder, double weight, bool trainable) {
  const at::NoGradGuard no_grad;
  if (trainable) model.set_requires_grad(false);
  if (folder.config.kind == AdapterConfig::Kind::prefix) return add_prefix(model, folder, weight, trainable);
  const Resolved found = resolve(model.config(), folder.config);
  const std::vector<TrainedPart> parts = trained_parts(model.config(), found.trained);
  check_tensors(folder, found, parts);
  const auto options = at::TensorOptions(model.dtype()).device(model.device());
  for (const LinearModule& module : found.targets) {
    LoraWeights lora = read_lora(folder, module, weight);
    lora.a = lora.a.to(options);
    lora.b = lora.b.to(options);
    if (lora.magnitude.defined()) lora.magnitude = lora.magnitude.to(options);
    attach(model, module, lora, folder.config.dropout, trainable);
  }
  for (const TrainedPart& part : parts) {
    const at::Tensor ours = find_parameter(model, part.parameter),
                     theirs = read_trained(folder, part).to(options);
    if (weight == 1)
      ours.detach().copy_(theirs);
    else
      ours.detach().lerp_(theirs, weight);
    if (trainable) ours.set_requires_grad(true);
  }
}

void add_adapters(CausalLM& model, const std::vector<AdapterReference>& references) {
  std::map<std::string, std::string> owner;
  for (const auto& [path, weight] : references) {
    const AdapterFolder folder(path);
    if (folder.config.kind == AdapterConfig::Kind::lora)
      for (const TrainedPart& part :
           trained_parts(model.config(), resolve(model.config(), folder.config).trained))
        if (const auto [other, is_new] = owner.emplace(part.parameter, path); !is_new)
          throw Error({.where = part.stored.name,
                       .found = "whole in both " + other->second + " and " + path,
                       .expected = "one adapter that trained it",
                       .advice = "retort merge adds up what both changed."});
    add_adapter(model, folder, weight);
  }
}

void freeze(CausalLM& model, const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (const Parameter& parameter : model.parameters())
      if (name_matches(parameter.name, pattern)) {
        parameter.tensor.set_requires_grad(false);
        found = true;
      }
    if (!found)
      throw Error({.where = "freeze",
                   .found = "'" + pattern + "', which matches no parameter",
                   .expected = "part of a name such as model.layers.0.mlp.up_proj.weight"});
  }
}

void save_adapter(const CausalLM& model, const AdapterConfig& config, const std::filesystem::path& folder) {
  std::vector<AdapterTensor> tensors;
  const auto values_of = [](const at::Tensor& tensor) {
    const at::Tensor wide = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    return std::vector<float>(wide.data_ptr<float>(), wide.data_ptr<float>() + wide.numel());
  };
  if (config.kind == AdapterConfig::Kind::prefix) {
    const at::Tensor all = joined_prefix(model);
    tensors.push_back({kPrefixTensor, all.sizes().vec(), values_of(all)});
  } else {
    for (const Parameter& parameter : model.parameters())
      if (parameter.name.starts_with(kAdapterPrefix))
        tensors.push_back({parameter.name, parameter.tensor.sizes().vec(), values_of(parameter.tensor)});
    std::map<std::string, std::vector<TrainedPart>> whole;  // by stored name: GPT-2's c_attn has three parts
    for (TrainedPart& part : trained_parts(model.config(), resolve(model.config(), config).trained))
      whole[part.stored.name].push_back(std::move(part));
    for (const auto& [name, parts] : whole) {
      std::vector<at::Tensor> rows;
      for (const TrainedPart& part : parts) rows.push_back(find_parameter(model, part.parameter).detach());
      at::Tensor joined = at::cat(rows);
      if (parts.front().stored.transposed) joined = joined.t();
      tensors.push_back({kAdapterPrefix + name, parts.front().stored_shape, values_of(joined)});
    }
  }
  write_adapter_folder(folder, config, model.config(), tensors);
}

void merge_adapters(CausalLM& model, const std::vector<AdapterReference>& references,
                    const MergeOptions& options) {
  const at::NoGradGuard no_grad;
  if (options.ties && !(options.density > 0 && options.density <= 1))
    throw Error(
        {.where = "density", .found = fmt::format("{}", options.density), .expected = "above 0, at most 1"});
  struct Source {
    AdapterFolder folder;
    double weight;
    Resolved found;
    std::vector<TrainedPart> parts;
  };
  std::vector<Source> sources;
  for (const auto& [path, weight] : references) {
    AdapterFolder folder(path);
    if (folder.config.kind == AdapterConfig::Kind::prefix)
      throw Error({.where = path,
                   .found = "a prefix, which changes no weight",
                   .expected = "LoRA adapters",
                   .advice = "Give it with --adapter where the model is used."});
    Resolved found = resolve(model.config(), folder.config);
    auto parts = trained_parts(model.config(), found.trained);
    check_tensors(folder, found, parts);
    sources.push_back({std::move(folder), weight, std::move(found), std::move(parts)});
  }
  const auto apply = [&](const at::Tensor& into, const std::vector<at::Tensor>& deltas,
                         const std::vector<double>& weights) {
    if (!deltas.empty()) into.detach().add_(combine(deltas, weights, options).to(into.options()));
  };
  for (const LinearModule& module : linear_modules(model.config())) {
    const at::Tensor base = base_rows(model, module);
    std::vector<at::Tensor> deltas;
    std::vector<double> weights;
    for (const Source& source : sources)
      for (const LinearModule& target : source.found.targets)
        if (target.name == module.name) {
          deltas.push_back(lora_delta(read_lora(source.folder, module, 1), base));
          weights.push_back(source.weight);
        }
    for (const std::string& name : module.parameters) {  // whole tensors of other adapters
      const at::Tensor ours = find_parameter(model, name);
      const std::int64_t row = model.parts().find_linear(name).second -
                               model.parts().find_linear(module.parameters.front()).second;
      std::vector<at::Tensor> own;
      std::vector<double> own_weights = weights;
      for (const at::Tensor& delta : deltas) own.push_back(delta.narrow(0, row, ours.size(0)));
      for (const Source& source : sources)
        for (const TrainedPart& part : source.parts)
          if (part.parameter == name) {
            own.push_back(read_trained(source.folder, part) - ours.to(at::kCPU, at::kFloat));
            own_weights.push_back(source.weight);
          }
      apply(ours, own, own_weights);
    }
  }
  std::map<std::string, std::pair<std::vector<at::Tensor>, std::vector<double>>> biases;
  for (const Source& source : sources)
    for (const TrainedPart& part : source.parts)
      if (part.shape.size() == 1) {
        auto& [deltas, weights] = biases[part.parameter];
        deltas.push_back(read_trained(source.folder, part) -
                         find_parameter(model, part.parameter).to(at::kCPU, at::kFloat));
        weights.push_back(source.weight);
      }
  for (const auto& [name, changes] : biases)
    apply(find_parameter(model, name), changes.first, changes.second);
}

}  // namespace retort
