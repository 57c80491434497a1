// Drawing the next token. Order and rules are those of Hugging Face's logits processors (transformers
// generation/logits_process.py).
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "architecture/generate_options.h"
#include "base/error.h"

namespace retort {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

void add_bias(std::span<float> logits, std::span<const LogitBias> biases) {
  for (const auto& [token, bias] : biases)
    if (token >= 0 && static_cast<std::size_t>(token) < logits.size())
      logits[static_cast<std::size_t>(token)] += bias;
}

// Calls change(logit, count) once for each different token.
template <class Change>
void for_each_token(std::span<float> logits, std::span<const TokenId> tokens, const Change& change) {
  std::vector<TokenId> sorted(tokens.begin(), tokens.end());
  std::sort(sorted.begin(), sorted.end());
  for (auto at = sorted.begin(); at != sorted.end();) {
    const auto next = std::upper_bound(at, sorted.end(), *at);
    if (*at >= 0 && static_cast<std::size_t>(*at) < logits.size())
      change(logits[static_cast<std::size_t>(*at)], static_cast<float>(next - at));
    at = next;
  }
}

void penalize(std::span<float> logits, const SampleContext& context, const GenerateOptions& options) {
  if (options.repetition_penalty != 1) {
    const auto factor = static_cast<float>(options.repetition_penalty);
    for_each_token(logits, context.history,
                   [&](float& logit, float) { logit = logit < 0 ? logit * factor : logit / factor; });
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    const auto presence = static_cast<float>(options.presence_penalty);
    const auto frequency = static_cast<float>(options.frequency_penalty);
    for_each_token(logits, context.history.subspan(context.prompt_tokens),
                   [&](float& logit, float count) { logit -= presence + frequency * count; });
  }
}

// Ties with the k-th stay.
void keep_top_k(std::span<float> logits, std::int64_t k) {
  if (static_cast<std::uint64_t>(k) >= logits.size()) return;
  std::vector<float> sorted(logits.begin(), logits.end());
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float least = sorted[static_cast<std::size_t>(k - 1)];
  for (float& logit : logits)
    if (logit < least) logit = kRemoved;
}

// Keeps the least set of likeliest tokens whose mass reaches p; of equally likely ones the lower ids.
void keep_top_p(std::span<float> logits, double p, float top) {
  std::vector<std::uint32_t> heap;
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kRemoved) continue;
    heap.push_back(static_cast<std::uint32_t>(i));
    total += std::exp(static_cast<double>(logits[i] - top));
  }
  const auto less_likely = [&](std::uint32_t a, std::uint32_t b) {
    return logits[a] < logits[b] || (logits[a] == logits[b] && a > b);
  };
  std::make_heap(heap.begin(), heap.end(), less_likely);
  double mass = 0;
  do {
    std::pop_heap(heap.begin(), heap.end(), less_likely);
    mass += std::exp(static_cast<double>(logits[heap.back()] - top));
    heap.pop_back();
  } while (!heap.empty() && mass < p * total);
  for (const std::uint32_t id : heap) logits[id] = kRemoved;
}

void keep_min_p(std::span<float> logits, double min_p, float top) {
  for (float& logit : logits)
    if (std::exp(static_cast<double>(logit - top)) < min_p) logit = kRemoved;
}

}  // namespace

double uniform_draw(const GenerateOptions& options, std::uint64_t sequence, std::uint64_t position) {
  Random random(static_cast<std::uint64_t>(options.seed), sequence);
  random.seek(position);
  return random.uniform();
}

TokenId sample_token(std::span<float> logits, const SampleContext& context, const GenerateOptions& options) {
  for (float& logit : logits)
    if (std::isnan(logit)) logit = kRemoved;
  add_bias(logits, options.logit_bias);
  penalize(logits, context, options);
  const auto best = std::max_element(logits.begin(), logits.end());  // the first of equals
  if (best == logits.end() || !std::isfinite(*best))
    throw Error({.where = "next-token logits",
                 .found = "no finite value",
                 .expected = "",
                 .advice = "The model's weights may be damaged, or its arithmetic overflowed."},
                ErrorKind::failure);
  const auto likeliest = static_cast<TokenId>(best - logits.begin());
  if (options.temperature <= 0) return likeliest;

  const auto temperature = static_cast<float>(options.temperature);
  // So cold that a quotient overflows, or that it is 0 in single precision: nothing but the likeliest is left.
  if (!std::isfinite(*best / temperature)) return likeliest;
  for (float& logit : logits) logit /= temperature;
  const float top = logits[static_cast<std::size_t>(likeliest)];
  if (options.top_k > 0) keep_top_k(logits, options.top_k);
  if (options.top_p < 1) keep_top_p(logits, options.top_p, top);
  if (options.min_p > 0) keep_min_p(logits, options.min_p, top);

  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit - top));
  double left = uniform_draw(options, context.sequence, context.position) * total;
  TokenId last = likeliest;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == kRemoved) continue;
    last = static_cast<TokenId>(i);
    left -= std::exp(static_cast<double>(logits[i] - top));
    if (left < 0) break;
  }
  return last;
}

}  // namespace retort
