// Next-token distributions out of rows of logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "architecture/language_model.h"

namespace retort {

struct RowMaximum {
  float value = 0;
  std::int32_t index = -1;  // the first of equals; −1 when the largest is not finite
};
RowMaximum row_maximum(std::span<const float> logits);

// −Σ p log p in nats, given the row's log_sum_exp (kernels/vector_ops.h).
float entropy(std::span<const float> logits, float log_sum_exp);

// The `count` likeliest tokens, likeliest first, of equals the lower id; none for 0.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, float log_sum_exp, int count);

}  // namespace retort
