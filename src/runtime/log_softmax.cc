#include "runtime/log_softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace retort {
namespace {

constexpr std::size_t kLanes = 16;  // partial sums, so that the compiler may use vectors

// exp for x ≤ 0, error below 2 units in the last place: 2^n · e^r with |r| ≤ ln 2 / 2 and a polynomial of
// degree 6. Branch-free, so that loops over it become vector code on every processor; std::exp would not.
inline float exp_of_negative(float x) {
  x = std::max(x, -87.0f);
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // rounds to the nearest integer
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

// Σ f(logit), a lane's partial sums handed over to double every few thousand values.
template <class F>
double sum_of(std::span<const float> logits, const F& f) {
  constexpr std::size_t kStretch = kLanes * 256;
  double total = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kStretch) {
    const std::span<const float> part = logits.subspan(begin, std::min(kStretch, logits.size() - begin));
    std::array<float, kLanes> lanes = {};
    std::size_t i = 0;
    for (; i + kLanes <= part.size(); i += kLanes)
      for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += f(part[i + lane]);
    for (; i < part.size(); ++i) lanes[0] += f(part[i]);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

}  // namespace

RowMaximum row_maximum(std::span<const float> logits) {
  std::array<float, kLanes> best;
  best.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = best[lane] < logits[i + lane] ? logits[i + lane] : best[lane];  // false for NaN
  for (; i < logits.size(); ++i) best[0] = best[0] < logits[i] ? logits[i] : best[0];
  const float value = *std::max_element(best.begin(), best.end());
  if (!std::isfinite(value)) return {value, -1};
  return {value, static_cast<std::int32_t>(std::find(logits.begin(), logits.end(), value) - logits.begin())};
}

float entropy(std::span<const float> logits, float log_sum_exp) {
  return static_cast<float>(-sum_of(logits, [&](float logit) {
    const float logprob = std::max(std::min(logit - log_sum_exp, 0.0f), -87.0f);
    return exp_of_negative(logprob) * logprob;
  }));
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, float log_sum_exp, int count) {
  std::vector<TokenLogprob> top;
  if (count <= 0) return top;
  const auto likelier = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
  };
  // A heap whose front is the least likely of the best so far: one pass over the row.
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const TokenLogprob next{static_cast<TokenId>(i), logits[i] - log_sum_exp};
    if (top.size() == static_cast<std::size_t>(count)) {
      if (!likelier(next, top.front())) continue;
      std::pop_heap(top.begin(), top.end(), likelier);
      top.pop_back();
    }
    top.push_back(next);
    std::push_heap(top.begin(), top.end(), likelier);
  }
  std::sort_heap(top.begin(), top.end(), likelier);
  return top;
}

}  // namespace retort
