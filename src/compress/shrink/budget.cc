#include "compress/shrink/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::int64_t kShares = 1000;  // tried: 1000/1000, 999/1000 …
constexpr std::int64_t kFfnStep = 8;

std::int64_t part_of(std::int64_t whole, std::int64_t share) {
  return std::max<std::int64_t>(1, (whole * share + kShares / 2) / kShares);
}

std::int64_t count_with(const ModelConfig& config, const Budget& budget) {
  ModelConfig smaller = config;
  if (budget.sizes.hidden > 0) smaller.hidden_size = budget.sizes.hidden;
  smaller.layers.resize(static_cast<std::size_t>(budget.num_layers));
  for (LayerConfig& layer : smaller.layers)
    layer = {.num_attention_heads = budget.sizes.heads,
             .num_key_value_heads = budget.sizes.key_value_heads,
             .intermediate_size = budget.sizes.ffn,
             .sliding_window = layer.sliding_window};
  return parameter_count(smaller);
}

}  // namespace

Budget fit_budget(const ModelConfig& config, std::int64_t parameters, std::int64_t hidden) {
  const LayerConfig& layer = config.layers.front();
  for (const LayerConfig& other : config.layers)
    if (other.num_attention_heads != layer.num_attention_heads ||
        other.num_key_value_heads != layer.num_key_value_heads ||
        other.intermediate_size != layer.intermediate_size)
      throw Error({.where = "parameters",
                   .found = "a model whose layers differ",
                   .expected = "one whose layers are alike",
                   .advice = "Give sizes instead."});
  const std::int64_t group = layer.num_attention_heads / layer.num_key_value_heads;
  const std::int64_t narrowest = std::min(kFfnStep, layer.intermediate_size);
  Budget budget;
  budget.sizes.hidden = hidden;
  for (std::int64_t share = kShares; share > 0; --share) {
    budget.num_layers = part_of(config.num_hidden_layers(), share);
    budget.sizes.key_value_heads = part_of(layer.num_key_value_heads, share);
    budget.sizes.heads = budget.sizes.key_value_heads * group;
    budget.sizes.ffn =
        share == kShares ? layer.intermediate_size
                         : std::max(narrowest, part_of(layer.intermediate_size, share) / kFfnStep * kFfnStep);
    if (count_with(config, budget) > parameters) continue;
    Budget wider = budget;
    for (; wider.sizes.ffn <= layer.intermediate_size && count_with(config, wider) <= parameters;
         wider.sizes.ffn += kFfnStep)
      budget = wider;
    return budget;
  }
  throw Error({.where = "parameters",
               .found = std::to_string(parameters),
               .expected = fmt::format("at least {}: one layer, one group of heads, an FFN of {}",
                                       count_with(config, budget), narrowest),
               .advice = "Give hidden too: most of a small model is its embedding."});
}

std::int64_t parse_count(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  const std::string unit(rest, end);
  const double factor = unit.empty()                 ? 1
                        : unit == "k"                ? 1e3
                        : unit == "M"                ? 1e6
                        : unit == "B" || unit == "G" ? 1e9
                                                     : 0;
  if (failure != std::errc() || factor == 0 || !(value > 0) || !(value * factor < 1e15))
    throw Error({.where = "parameters",
                 .found = "'" + text + "'",
                 .expected = "a number such as 12M, 800k, 1.5B or 12000000",
                 .advice = ""});
  return std::llround(value * factor);
}

}  // namespace retort
