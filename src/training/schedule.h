// A number as a function of the optimizer step: learning rates, temperatures, loss weights.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace retort {

struct RateSchedule {
  std::string kind = "cosine";      // constant, linear, cosine
  double peak = 1e-3, minimum = 0;  // the value after warm-up, and at the end
  std::int64_t warmup_steps = 0, total_steps = 0;

  // Step 0 is the first step; warm-up reaches `peak` at step == warmup_steps, rising from peak /
  // (warmup_steps + 1).
  double at(std::int64_t step) const;
};

}  // namespace retort
