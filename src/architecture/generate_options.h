// How an answer is drawn from next-token distributions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/options.h"
#include "base/random.h"
#include "base/token.h"

namespace retort {

struct GenerateOptions {
  std::int64_t max_tokens = 256;
  double temperature = 0;         // 0: the likeliest token
  std::int64_t top_k = 0;         // 0: all
  double top_p = 1;               // least set of likeliest tokens whose mass reaches this
  double min_p = 0;               // tokens below min_p × the likeliest's probability are dropped
  double repetition_penalty = 1;  // on tokens of prompt and answer (Keskar et al. 2019, as Hugging Face)
  std::int64_t seed = 0;
  std::vector<TokenId> end_tokens = {};  // beside the model's own

  void visit(OptionList& list);
  // Throws Error naming the first value that is out of range.
  void check(const std::string& where) const;
};

// The next token out of logits[V] (changed in place): penalties, temperature, top-k, top-p, min-p, then a draw. The draw for
// (seed, sequence, position) is the same on every engine and in every batch. Throws Error when no logit is finite.
TokenId sample_token(std::span<float> logits, std::span<const TokenId> history, const GenerateOptions& options,
                     std::uint64_t sequence, std::uint64_t position);

}  // namespace retort
