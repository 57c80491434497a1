#include "model/adapters/prefix.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "model/transformer.h"

namespace retort {
namespace {

void put_prefix(CausalLM& model, const at::Tensor& joined, bool trainable) {
  CausalLM::Impl& parts = model.parts();
  const ModelConfig& config = model.config();
  if (!parts.prefix.empty())
    throw Error({.where = "adapter", .found = "two prefixes", .expected = "at most one for a sequence"});
  if (joined.size(0) >= config.max_position_embeddings)
    throw Error({.where = "num_virtual_tokens",
                 .found = std::to_string(joined.size(0)),
                 .expected = fmt::format("fewer than the context of {}", config.max_position_embeddings)});
  std::int64_t column = 0;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::int64_t width = 2 * config.layers[i].num_key_value_heads * config.head_dim;
    at::Tensor layer = joined.narrow(1, column, width).to(parts.options).contiguous();
    column += width;
    if (layer.is_same(joined)) layer = layer.clone();
    if (trainable)
      parts.parameters.push_back({fmt::format("prefix.layers.{}", i), layer.set_requires_grad(true)});
    parts.prefix.push_back(layer);
  }
}

std::int64_t joined_width(const ModelConfig& config) {
  std::int64_t width = 0;
  for (const LayerConfig& layer : config.layers) width += 2 * layer.num_key_value_heads * config.head_dim;
  return width;
}

}  // namespace

void add_prefix(CausalLM& model, std::int64_t virtual_tokens, std::uint64_t seed) {
  if (virtual_tokens < 1)
    throw Error(
        {.where = "num_virtual_tokens", .found = std::to_string(virtual_tokens), .expected = "1 or more"});
  const double range =
      json_get_or<double>(model.config().hf_config, "initializer_range", 0.02, "config.json");
  at::Tensor values = at::empty({virtual_tokens, joined_width(model.config())}, at::kFloat);
  Random random(seed, virtual_tokens);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(range * random.normal());
  put_prefix(model, values, /*trainable=*/true);
}

void add_prefix(CausalLM& model, const AdapterFolder& folder, double weight, bool trainable) {
  if (weight != 1)
    throw Error({.where = folder.path.string(),
                 .found = fmt::format("a prefix with the weight {}", weight),
                 .expected = "1: keys and values have no fraction"});
  const std::vector<std::int64_t> shape = {folder.config.virtual_tokens, joined_width(model.config())};
  put_prefix(model, at::tensor(folder.load(kPrefixTensor, shape), at::kFloat).view(shape), trainable);
}

at::Tensor joined_prefix(const CausalLM& model) {
  const at::NoGradGuard no_grad;
  return at::cat(model.prefix(), 1);
}

}  // namespace retort
