// Likelihood of held-out answers during training.
#pragma once

#include "data/batch_source.h"
#include "model/causal_lm.h"

namespace retort {

struct Likelihood {
  double nats = 0;  // Σ -log p over target tokens
  std::int64_t target_tokens = 0;
  double nats_per_token() const { return target_tokens > 0 ? nats / static_cast<double>(target_tokens) : 0; }
};

// Mean over target positions, by weight, of KL(p_from || p_model) in nats: how far `model` is from another of
// the same tokens.
double mean_kl(const CausalLM& model, const CausalLM& from, const std::vector<Batch>& batches);

// The whole store in order, in batches of batch_tokens positions.
Likelihood likelihood(const CausalLM& model, const ExampleStore& store, std::int64_t batch_tokens);

}  // namespace retort
