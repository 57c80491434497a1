#include "architecture/adapter_folder.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <cmath>
#include <cstring>

#include "architecture/canonical_name.h"
#include "architecture/family.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorsFile = "adapter_model.safetensors";
constexpr std::int64_t kMostRank = 1 << 16, kMostVirtualTokens = 1 << 20;

bool matches(const std::string& name, const std::string& pattern) {
  if (pattern.find('*') != std::string::npos) return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  return name == pattern || name.ends_with("." + pattern);
}

std::vector<std::string> read_names(const Json& json, const std::string& key, const std::string& where) {
  const Json value = json.value(key, Json());
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  return json_get<std::vector<std::string>>(json, key, where);
}

void check_range(const std::string& where, const std::string& key, double value, double least, double most) {
  if (!(value >= least && value <= most))
    throw Error({.where = where + ": " + key,
                 .found = fmt::format("{}", value),
                 .expected = fmt::format("{} … {}", least, most)});
}

AdapterConfig read_config(const Json& json, const std::string& where) {
  AdapterConfig config;
  const std::string type = json_get<std::string>(json, "peft_type", where);
  config.base = json_get_or<std::string>(json, "base_model_name_or_path", "", where);
  if (type == "PREFIX_TUNING") {
    config.kind = AdapterConfig::Kind::prefix;
    config.virtual_tokens = json_get<std::int64_t>(json, "num_virtual_tokens", where);
    check_range(where, "num_virtual_tokens", static_cast<double>(config.virtual_tokens), 1,
                static_cast<double>(kMostVirtualTokens));
    return config;
  }
  if (type != "LORA")
    throw Error(
        {.where = where + ": peft_type", .found = "'" + type + "'", .expected = "LORA or PREFIX_TUNING"});
  config.rank = json_get<std::int64_t>(json, "r", where);
  check_range(where, "r", static_cast<double>(config.rank), 1, static_cast<double>(kMostRank));
  config.alpha = json_get<double>(json, "lora_alpha", where);
  config.dropout = json_get_or<double>(json, "lora_dropout", 0, where);
  check_range(where, "lora_dropout", config.dropout, 0, 0.999);
  config.rslora = json_get_or<bool>(json, "use_rslora", false, where);
  config.dora = json_get_or<bool>(json, "use_dora", false, where);
  config.targets = read_names(json, "target_modules", where);
  config.trained = read_names(json, "modules_to_save", where);
  const auto refuse = [&](const char* key, const Json& harmless) {
    const Json value = json.value(key, Json());
    if (!value.is_null() && value != harmless && !(value.is_structured() && value.empty()))
      throw Error({.where = where + ": " + key,
                   .found = value.dump(),
                   .expected = harmless.dump(),
                   .advice = "This kind of adapter is not supported."});
  };
  refuse("bias", "none");
  for (const char* key : {"lora_bias", "use_qalora", "use_bdlora"}) refuse(key, false);
  for (const char* key : {"alpha_pattern", "layer_replication", "target_parameters",
                          "trainable_token_indices", "alora_invocation_tokens", "arrow_config"})
    refuse(key, Json());
  return config;
}

}  // namespace

double AdapterConfig::scale(std::int64_t module_rank) const {
  const auto r = static_cast<double>(module_rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

std::vector<LinearModule> linear_modules(const ModelConfig& config) {
  const Family& family = find_family(config.model_type, "model_type");
  constexpr std::string_view kWeight = ".weight";
  std::vector<LinearModule> modules;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const CanonicalName name = split_name(spec.name);
    if (name.layer < 0 || name.kind != "weight" || spec.shape.size() != 2) continue;
    const StoredTensor stored = family.stored(config, spec.name);
    const std::string module = stored.name.substr(0, stored.name.size() - kWeight.size());
    if (modules.empty() || modules.back().name != module)
      modules.push_back({.name = module,
                         .parameters = {},
                         .in_features = spec.shape[1],
                         .transposed = stored.transposed,
                         .attention = name.module.starts_with("self_attn.")});
    modules.back().parameters.push_back(spec.name);
    modules.back().out_features += spec.shape[0];
  }
  return modules;
}

std::vector<LinearModule> match_modules(const std::vector<LinearModule>& modules,
                                        const std::vector<std::string>& patterns, const std::string& where) {
  std::vector<bool> chosen(modules.size(), false);
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (std::size_t i = 0; i < modules.size(); ++i)
      if (pattern == "all-linear" || matches(modules[i].name, pattern)) chosen[i] = found = true;
    if (!found)
      throw Error({.where = where,
                   .found = "'" + pattern + "', which matches no linear layer",
                   .expected = "part of a name such as " + (modules.empty() ? "" : modules.front().name)});
  }
  std::vector<LinearModule> result;
  for (std::size_t i = 0; i < modules.size(); ++i)
    if (chosen[i]) result.push_back(modules[i]);
  return result;
}

AdapterFolder::AdapterFolder(fs::path folder) : path(std::move(folder)) {
  for (const char* file : {kConfigFile, kTensorsFile})
    if (!fs::exists(path / file))
      throw Error({.where = path.string(),
                   .found = fmt::format("no {}", file),
                   .expected = fmt::format("an adapter: {} and {}", kConfigFile, kTensorsFile)});
  config = read_config(read_json(path / kConfigFile), (path / kConfigFile).string());
  tensors = open_safetensors(path / kTensorsFile);
}

const TensorView& AdapterFolder::find(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const TensorView& view = tensors->get(name);
  if (view.shape != shape)
    throw Error({.where = tensors->where(),
                 .found = view.describe(),
                 .expected = fmt::format("[{}]", fmt::join(shape, ", ")),
                 .advice = "The adapter belongs to another base model, or its config is another's."});
  return view;
}

std::vector<float> AdapterFolder::load(const std::string& name,
                                       const std::vector<std::int64_t>& shape) const {
  return to_float(find(name, shape));
}

void write_adapter_folder(const fs::path& folder, const AdapterConfig& config, const ModelConfig& model,
                          const std::vector<AdapterTensor>& tensors) {
  const auto or_null = [](const std::vector<std::string>& list) {
    return list.empty() ? Json() : Json(list);
  };
  Json json = {{"base_model_name_or_path", config.base.empty() ? Json() : Json(config.base)},
               {"inference_mode", true},
               {"task_type", "CAUSAL_LM"}};
  if (config.kind == AdapterConfig::Kind::prefix) {
    const std::int64_t heads = model.layers.front().num_key_value_heads;
    json["peft_type"] = "PREFIX_TUNING";
    json["num_virtual_tokens"] = config.virtual_tokens;
    json["num_layers"] = model.num_hidden_layers();
    json["num_attention_heads"] = heads;
    json["token_dim"] = heads * model.head_dim;
    json["num_transformer_submodules"] = 1;
    json["prefix_projection"] = false;
  } else {
    json["peft_type"] = "LORA";
    json["r"] = config.rank;
    json["lora_alpha"] = config.alpha;
    json["lora_dropout"] = config.dropout;
    json["use_rslora"] = config.rslora;
    json["use_dora"] = config.dora;
    json["bias"] = "none";
    json["target_modules"] = config.targets;
    json["modules_to_save"] = or_null(config.trained);
    const auto modules = linear_modules(model);
    json["fan_in_fan_out"] = !modules.empty() && modules.front().transposed;
  }
  fs::create_directories(folder);
  std::vector<TensorView> views;
  for (const AdapterTensor& tensor : tensors)
    views.push_back({tensor.name, DType::f32, tensor.shape, std::as_bytes(std::span(tensor.values))});
  write_safetensors(folder / kTensorsFile, views);
  write_json(folder / kConfigFile, json);
}

std::vector<AdapterReference> parse_adapter_references(const std::vector<std::string>& texts) {
  std::vector<AdapterReference> result;
  double sum = 0;
  for (const std::string& text : texts) {
    AdapterReference reference{.path = text};
    const std::size_t colon = text.rfind(':');
    if (colon != std::string::npos && !fs::exists(text)) {
      const std::string number = text.substr(colon + 1);
      char* end = nullptr;
      reference.path = text.substr(0, colon);
      reference.weight = std::strtod(number.c_str(), &end);
      if (number.empty() || *end != '\0' || !std::isfinite(reference.weight))
        throw Error({.where = "adapter", .found = "'" + text + "'", .expected = "DIR or DIR:WEIGHT"});
    }
    sum += reference.weight;
    result.push_back(std::move(reference));
  }
  if (!result.empty() && std::abs(sum) < 1e-9)
    throw Error(
        {.where = "adapter", .found = "weights that sum to zero", .expected = "a sum other than zero"});
  return result;
}

}  // namespace retort
