// Next-token distributions out of rows of logits.
#pragma once

#include <cstdint>
#include <span>

namespace retort {

struct RowMaximum {
  float value = 0;
  std::int32_t index = -1;  // the first of equals; −1 when no logit is finite
};
RowMaximum row_maximum(std::span<const float> logits);

// log Σ exp(logit), relative error below 1e-6 of the sum. `maximum` is the row's largest logit.
float log_sum_exp(std::span<const float> logits, float maximum);

// −Σ p log p in nats, given the row's log_sum_exp.
float entropy(std::span<const float> logits, float log_sum_exp);

}  // namespace retort
