// Paired bootstrap (Koehn 2004): resample sentences with replacement, recompute both systems' corpus scores
// on the same resample, and take percentiles of the difference.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace retort {

struct Interval {
  double mean = 0;           // over the resamples
  double low = 0, high = 0;  // 2.5th and 97.5th percentile
  // For a difference: it has one sign in (at least) 95 % of the resamples.
  bool excludes_zero() const { return low > 0 || high < 0; }
};

// `score` gets the indices of a resample of [0, n) and returns a number (one system's score, or a difference
// of two). The resamples depend on (n, resamples, seed) alone. n = 0 gives zeros.
Interval bootstrap(std::int64_t n, const std::function<double(std::span<const std::int32_t>)>& score,
                   int resamples = 1000, std::uint64_t seed = 12345);

}  // namespace retort
