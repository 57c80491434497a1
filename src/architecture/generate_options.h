// How an answer is drawn from next-token distributions.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/options.h"
#include "base/random.h"
#include "base/token.h"

namespace retort {

struct LogitBias {
  TokenId token;
  float bias;  // added to the logit; −infinity forbids the token
};

struct GenerateOptions {
  std::int64_t max_tokens = 256;
  double temperature = 0;         // 0: the likeliest token
  std::int64_t top_k = 0;         // 0: all
  double top_p = 1;               // least set of likeliest tokens whose mass reaches this
  double min_p = 0;               // tokens below min_p × the likeliest's probability are dropped
  double repetition_penalty = 1;  // on tokens of prompt and answer (Keskar et al. 2019, as Hugging Face)
  // On tokens of the answer, as OpenAI's API defines them: subtracted once, and once per occurrence.
  double presence_penalty = 0, frequency_penalty = 0;
  std::int64_t seed = 0;
  std::vector<LogitBias> logit_bias = {};
  std::vector<TokenId> end_tokens = {};  // beside the model's own
  // Asked now and then, prompts being read included: true ends all answers.
  std::function<bool()> cancelled = {};

  // The likeliest token of the unmodified distribution is the answer.
  bool takes_likeliest() const;

  // The answer is a draw from the whole softened distribution: no filter, bias or penalty.
  bool draws_from_all() const;

  void visit(OptionList& list);
  // Throws Error naming the first value that is out of range.
  void check(const std::string& where) const;
};

struct SampleContext {
  std::span<const TokenId> history = {};  // prompt and answer
  std::size_t prompt_tokens = 0;          // of them
  std::uint64_t sequence = 0, position = 0;
};

// The number in [0, 1) that decides the draw of a token.
double uniform_draw(const GenerateOptions& options, std::uint64_t sequence, std::uint64_t position);

// The next token out of logits[V] (changed in place): bias, penalties, temperature, top-k, top-p, min-p, then
// a draw. The draw for (seed, sequence, position) is the same on every engine and in every batch. Throws
// Error when no logit is finite.
TokenId sample_token(std::span<float> logits, const SampleContext& context, const GenerateOptions& options);

}  // namespace retort
