#include "runtime/input_statistics.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

// One run of values that share a scale.
void add_run(std::span<const float> run, double limit, InputStatistics& sums) {
  double most = 0;
  const auto clamped = [&](double x) { return limit > 0 ? std::clamp(x, -limit, limit) : x; };
  for (const float x : run) {
    sums.largest = std::max<double>(sums.largest, std::fabs(x));
    most = std::max(most, std::fabs(clamped(x)));
  }
  const double scale = most / 127;
  for (const float x : run) {
    const double rounded = scale > 0 ? scale * std::nearbyint(clamped(x) / scale) : 0;
    sums.squared += static_cast<double>(x) * x;
    sums.squared_error += (rounded - x) * (rounded - x);
    sums.clamped += clamped(x) != x ? 1 : 0;
  }
  sums.values += static_cast<std::int64_t>(run.size());
}

}  // namespace

double InputStatistics::relative_error() const {
  return squared > 0 ? std::sqrt(squared_error / squared) : 0;
}

std::vector<std::array<InputStatistics, kLinearGroups>> input_statistics(Engine& engine,
                                                                         std::span<const Sequence> texts,
                                                                         double limit) {
  std::vector<std::array<InputStatistics, kLinearGroups>> all(engine.config().layers.size());
  engine.observe_inputs([&](std::size_t layer, LinearGroup group, const Activations& input) {
    InputStatistics& sums = all[layer][static_cast<std::size_t>(group)];
    for (std::int64_t i = 0; i < input.rows(); ++i) {
      const std::span<const float> row = input.row(i);
      for (std::size_t at = 0; at < row.size(); at += kRun)
        add_run(row.subspan(at, std::min<std::size_t>(kRun, row.size() - at)), limit, sums);
    }
  });
  for (const Sequence& text : texts) {
    const SequenceId id = engine.open(text.adapter);
    const auto at_once = static_cast<std::size_t>(engine.options().max_batch_tokens);
    for (std::size_t at = 0; at < text.tokens.size(); at += at_once) {
      const Piece piece{id, std::span(text.tokens).subspan(at, std::min(at_once, text.tokens.size() - at)),
                        Outputs::all};
      engine.step(std::span(&piece, 1));
    }
    engine.cache().remove(id);
  }
  engine.observe_inputs(nullptr);
  return all;
}

}  // namespace retort
