// Prefix tuning (Li & Liang 2021): trained keys and values that every sequence sees before its first token,
// in every layer. As in PEFT they are stored as attention reads them, rotated already, and tokens' positions
// count on from them.
#pragma once

#include "architecture/adapter_folder.h"
#include "model/causal_lm.h"

namespace retort {

// normal(0, initializer_range); a function of the seed.
void add_prefix(CausalLM& model, std::int64_t virtual_tokens, std::uint64_t seed);
void add_prefix(CausalLM& model, const AdapterFolder& folder, double weight, bool trainable);
// [virtual tokens, Σ over layers of (keys | values)]
at::Tensor joined_prefix(const CausalLM& model);

}  // namespace retort
