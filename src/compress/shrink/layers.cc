#include "compress/shrink/layers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "model/transformer.h"

namespace retort {
namespace {

void check_count(std::int64_t total, std::int64_t count) {
  if (count < 1 || count > total)
    throw Error({.where = "num_layers",
                 .found = std::to_string(count),
                 .expected = "between 1 and " + std::to_string(total),
                 .advice = ""});
}

}  // namespace

std::vector<std::int64_t> spread_layers(std::int64_t total, std::int64_t count) {
  check_count(total, count);
  std::vector<std::int64_t> layers;
  for (std::int64_t i = 0; i < count; ++i)
    layers.push_back(
        count == 1 ? 0 : std::llround(static_cast<double>(i * (total - 1)) / static_cast<double>(count - 1)));
  return layers;
}

std::vector<std::int64_t> influential_layers(const UnitScores& scores, std::int64_t count) {
  check_count(static_cast<std::int64_t>(scores.layers.size()), count);
  std::vector<double> influence;
  for (const LayerScores& layer : scores.layers) influence.push_back(layer.influence);
  return highest(influence, count);
}

void keep_blocks(CausalLM& model, const std::vector<std::int64_t>& layers) {
  std::vector<Block> kept;
  for (const std::int64_t layer : layers)
    kept.push_back(model.parts().blocks.at(static_cast<std::size_t>(layer)));
  model.parts().blocks = std::move(kept);
}

std::vector<std::int64_t> search_layers(CausalLM& model, const Calibration& calibration, std::int64_t count,
                                        const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto total = static_cast<std::int64_t>(model.parts().blocks.size());
  check_count(total, count);
  const std::vector<Block> all = model.parts().blocks;
  std::vector<std::int64_t> kept(all.size());
  std::iota(kept.begin(), kept.end(), 0);
  std::int64_t done = 0, passes = (total * (total + 1) - count * (count + 1)) / 2;
  while (static_cast<std::int64_t>(kept.size()) > count) {
    double best = std::numeric_limits<double>::infinity();
    std::vector<std::int64_t> best_kept;
    for (std::size_t out = 0; out < kept.size(); ++out) {
      std::vector<std::int64_t> tried = kept;
      tried.erase(tried.begin() + static_cast<std::ptrdiff_t>(out));
      model.parts().blocks = all;
      keep_blocks(model, tried);
      const double nats = nats_per_token(model, calibration);
      if (nats < best || best_kept.empty()) best = nats, best_kept = std::move(tried);
      if (progress) progress(++done, passes);
    }
    kept = std::move(best_kept);
  }
  model.parts().blocks = all;
  return kept;
}

}  // namespace retort
