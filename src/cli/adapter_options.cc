#include "cli/adapter_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace retort {

void AdapterOptions::visit(OptionList& list) {
  list.add("adapter", method,
           "what learns: the whole model; LoRA beside frozen layers; keys and values before "
           "every sequence; or attention whole and LoRA in the MLP")
      .choices = {"full", "lora", "prefix", "hybrid"};
  list.add("lora_rank", rank, "inner width of LoRA");
  list.add("lora_alpha", alpha, "LoRA adds alpha / rank of its product");
  list.add("lora_dropout", dropout, "dropout on LoRA's input");
  list.add(
      "target_modules", targets,
      "layers that get LoRA: names' ends, or '*' for any text; none: queries and values (hybrid: the MLP)");
  list.add("use_rslora", rslora, "alpha / √rank instead of alpha / rank");
  list.add("use_dora", dora, "train the weights' row lengths apart from their directions");
  list.add("num_virtual_tokens", virtual_tokens, "length of the prefix");
  list.add("base_encoding", base_encoding,
           "keep the frozen linear layers in 8 or 4 bits while the adapter learns (QLoRA): i8_channel, "
           "f8_channel, q8_0, "
           "q4_0, "
           "q4_k …, decoded tile by tile in each product; none: in the run's precision");
  list.add("freeze", freeze, "parameters that stay as they are: parts of names, or '*' for any text");
}

void AdapterOptions::check(bool has_base) const {
  if (base_encoding != "none") {
    find_weight_encoding(base_encoding, "base_encoding");
    if (!on())
      throw Error({.where = "base_encoding",
                   .found = base_encoding + " of a model that is trained whole",
                   .expected = "an adapter over a frozen base",
                   .advice = "Add --adapter lora, or leave base_encoding out."});
  }
  if (!on()) return;
  if (!has_base)
    throw Error(
        {.where = "adapter", .found = method + " for a new model", .expected = "a model folder to adapt"});
  if (!(dropout >= 0 && dropout < 1))
    throw Error(
        {.where = "lora_dropout", .found = fmt::format("{}", dropout), .expected = "from 0 to below 1"});
}

AdapterConfig AdapterOptions::config(const ModelConfig& model) const {
  AdapterConfig config{.kind = method == "prefix" ? AdapterConfig::Kind::prefix : AdapterConfig::Kind::lora,
                       .rank = rank,
                       .alpha = alpha,
                       .dropout = dropout,
                       .rslora = rslora,
                       .dora = dora,
                       .targets = {},
                       .trained = {},
                       .virtual_tokens = virtual_tokens,
                       .base = ""};
  if (config.kind == AdapterConfig::Kind::prefix) return config;
  const auto modules = linear_modules(model);
  const auto names = [](const std::vector<LinearModule>& chosen) {
    std::vector<std::string> list;
    for (const LinearModule& module : chosen) list.push_back(module.name);
    return list;
  };
  // Full names are written, so that every reader takes them to mean the same layers.
  if (!targets.empty()) config.targets = names(match_modules(modules, targets, "target_modules"));
  for (const LinearModule& module : modules) {
    const auto holds = [&](const char* projection) {
      return std::any_of(module.parameters.begin(), module.parameters.end(),
                         [&](const std::string& name) { return name.find(projection) != std::string::npos; });
    };
    if (method == "hybrid" && module.attention) config.trained.push_back(module.name);
    if (!targets.empty()) continue;
    if (method == "hybrid" ? !module.attention : holds("q_proj") || holds("v_proj"))
      config.targets.push_back(module.name);
  }
  return config;
}

FrozenBase AdapterOptions::frozen_base(const ModelConfig& model) const {
  if (base_encoding == "none") return {};
  FrozenBase base{&find_weight_encoding(base_encoding, "base_encoding"), {}};
  const std::vector<std::string> trained = config(model).trained;
  for (const LinearModule& module : linear_modules(model))
    if (std::find(trained.begin(), trained.end(), module.name) != trained.end())
      base.whole.insert(base.whole.end(), module.parameters.begin(), module.parameters.end());
  return base;
}

void AdapterOptions::apply(CausalLM& model, std::uint64_t seed) const {
  model.set_requires_grad(true);
  if (on()) add_adapter(model, config(model.config()), seed);
  retort::freeze(model, freeze);
  std::int64_t trained = 0;
  for (const Parameter& parameter : model.parameters())
    if (parameter.tensor.requires_grad()) trained += parameter.tensor.numel();
  if (on() || !freeze.empty())
    log_info("{} of {} parameters learn ({}).", trained, parameter_count(model.config()), method);
}

void AdapterOptions::save(const CausalLM& model, const std::string& base,
                          const std::filesystem::path& folder) const {
  AdapterConfig written = config(model.config());
  written.base = base;
  AtomicFolder target(folder, /*replace=*/true);
  save_adapter(model, written, target.path());
  target.commit();
}

}  // namespace retort
