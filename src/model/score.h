// Log-probabilities of given tokens, without ever holding [N, V] logits.
#pragma once

#include <span>
#include <vector>

#include "architecture/language_model.h"
#include "model/causal_lm.h"

namespace retort {

// Sequences are packed, in order, into passes of at most `max_batch_tokens` (a longer sequence is a pass of
// its own).
std::vector<Scores> score_sequences(const CausalLM& model, std::span<const Sequence> sequences,
                                    const ScoreOptions& options, std::int64_t max_batch_tokens);

}  // namespace retort
