// CausalLM as a LanguageModel: batched scoring without [N, V] logits, batched generation with a key/value
// cache.
#pragma once

#include <memory>

#include "architecture/language_model.h"
#include "model/causal_lm.h"

namespace retort {

// Shares the model; `max_batch_tokens` bounds memory in scoring and prefill.
std::unique_ptr<LanguageModel> as_language_model(std::shared_ptr<const CausalLM> model,
                                                 std::int64_t max_batch_tokens = 8192);

}  // namespace retort
