#include "evaluate/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace retort {
namespace {

// Linear between the two nearest of sorted values, as numpy.percentile.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Interval bootstrap(std::int64_t n, const std::function<double(std::span<const std::int32_t>)>& score,
                   int resamples, std::uint64_t seed) {
  if (n <= 0 || resamples <= 0) return {};
  std::vector<std::int32_t> indices(static_cast<std::size_t>(n));
  std::vector<double> scores;
  for (int resample = 0; resample < resamples; ++resample) {
    // A stream per resample: the same sentences are drawn whatever else is computed, for both systems.
    Random random(seed, static_cast<std::uint64_t>(resample));
    for (std::int32_t& index : indices)
      index = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(n)));
    scores.push_back(score(indices));
  }
  std::sort(scores.begin(), scores.end());
  return {.mean = std::accumulate(scores.begin(), scores.end(), 0.0) / resamples,
          .low = quantile(scores, 0.025),
          .high = quantile(scores, 0.975)};
}

}  // namespace retort
