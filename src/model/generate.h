// Batched generation: prompts go in packed, then all live sequences advance one token a step; a sequence that
// ends makes room for a waiting one. What a sequence gets does not depend on which others run beside it.
#pragma once

#include <span>

#include "architecture/language_model.h"
#include "model/causal_lm.h"

namespace retort {

struct GenerateLimits {
  std::int64_t slots = 64;               // sequences advanced together
  std::int64_t max_batch_tokens = 8192;  // of prompts packed into one pass
};

void generate_with_cache(const CausalLM& model, std::span<const Sequence> prompts,
                         const GenerateOptions& options, const TokenCallback& callback,
                         const GenerateLimits& limits);

}  // namespace retort
