#include "compress/shrink/sizes.h"

#include <fmt/format.h>

#include "base/error.h"

namespace retort {
namespace {

void check_size(const char* key, std::int64_t size, std::int64_t available, const std::string& of) {
  if (size < 1 || size > available)
    throw Error({.where = key,
                 .found = std::to_string(size),
                 .expected = fmt::format("between 1 and {}, {}", available, of),
                 .advice = ""});
}

// Key/value heads of a layer that keeps `sizes.heads` query heads.
std::int64_t kept_groups(const ShrinkSizes& sizes, const LayerConfig& layer) {
  const std::int64_t groups = layer.num_key_value_heads, group = layer.num_attention_heads / groups;
  if (sizes.key_value_heads > 0) {
    check_size("kv_heads", sizes.key_value_heads, groups, "the model's");
    const std::int64_t heads = sizes.heads > 0 ? sizes.heads : sizes.key_value_heads * group;
    if (heads % sizes.key_value_heads != 0 || heads / sizes.key_value_heads > group)
      throw Error({.where = "heads",
                   .found = fmt::format("{} for {} key/value heads", heads, sizes.key_value_heads),
                   .expected = fmt::format("a multiple of them, and of each group at most its {}", group),
                   .advice = ""});
    return sizes.key_value_heads;
  }
  if (sizes.heads % group == 0) return sizes.heads / group;
  if (sizes.heads % groups == 0) return groups;
  throw Error({.where = "heads",
               .found = std::to_string(sizes.heads),
               .expected = fmt::format("a multiple of {} (whole groups) or of {} (as many of every group)",
                                       group, groups),
               .advice = "Or say with kv_heads how many groups stay."});
}

void cut_heads(const ShrinkSizes& sizes, const LayerConfig& layer, const std::vector<double>& scores,
               LayerCut& cut) {
  if (sizes.heads != 0)
    check_size("heads", sizes.heads, layer.num_attention_heads, fmt::format("those of layer {}", cut.layer));
  const std::int64_t group = layer.num_attention_heads / layer.num_key_value_heads;
  const std::int64_t groups = kept_groups(sizes, layer);
  const std::int64_t per_group = sizes.heads > 0 ? sizes.heads / groups : group;
  std::vector<double> group_scores(static_cast<std::size_t>(layer.num_key_value_heads));
  for (std::size_t i = 0; i < scores.size(); ++i)
    group_scores[i / static_cast<std::size_t>(group)] += scores[i];
  cut.key_value_heads = highest(group_scores, groups);
  cut.query_heads.clear();
  for (const std::int64_t g : cut.key_value_heads)
    for (const std::int64_t i :
         highest({scores.begin() + g * group, scores.begin() + (g + 1) * group}, per_group))
      cut.query_heads.push_back(g * group + i);
}

}  // namespace

void cut_to_sizes(const ModelConfig& config, const ShrinkSizes& sizes, const UnitScores& scores, Cut& cut) {
  for (std::size_t i = 0; i < cut.layers.size(); ++i) {
    LayerCut& layer = cut.layers[i];
    const LayerConfig& shape = config.layers[static_cast<std::size_t>(layer.layer)];
    if (sizes.heads != 0 || sizes.key_value_heads != 0)
      cut_heads(sizes, shape, scores.layers[i].query_heads, layer);
    if (sizes.ffn != 0) {
      check_size("ffn", sizes.ffn, shape.intermediate_size, fmt::format("that of layer {}", layer.layer));
      layer.ffn = highest(scores.layers[i].ffn, sizes.ffn);
    }
  }
  if (sizes.hidden != 0) {
    check_size("hidden", sizes.hidden, config.hidden_size, "the model's");
    cut.hidden = highest(scores.hidden, sizes.hidden);
  }
}

}  // namespace retort
