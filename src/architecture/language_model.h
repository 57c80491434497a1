// A model as judges, dialogues and data makers see it: token ids in, log-probabilities or tokens out. model/
// implements it with LibTorch, runtime/ with the CPU engine; whatever is written against it works with both.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "architecture/generate_options.h"
#include "architecture/model_config.h"

namespace retort {

struct Sequence {
  std::vector<TokenId> tokens;
  std::string adapter;  // name of a loaded adapter; empty = the base model
};

struct ScoreOptions {
  bool entropy = false;                    // of the whole next-token distribution, in nats
  int top_k = 0;                           // the k likeliest tokens at each position
  std::vector<int> attention_layers = {};  // layers whose attention maps are wanted
};

struct TokenLogprob {
  TokenId token;
  float logprob;
};

struct Scores {
  std::vector<float> logprobs;  // n - 1 for n tokens: log p(token[i + 1] | tokens[0 … i]), natural logarithm
  std::vector<float> entropy;   // n - 1, when asked
  std::vector<std::vector<TokenLogprob>> top;  // n - 1, likeliest first, when asked
  std::vector<std::vector<float>> attention;   // one per asked layer: [heads, n, n], when asked
};

// Called for each new token in the order of its sequence: prompt index, token, its log-probability under the
// unmodified distribution. Returning false ends that sequence only.
using TokenCallback = std::function<bool(std::size_t prompt, TokenId token, float logprob)>;

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual const ModelConfig& config() const = 0;
  // Tokens that a sequence without a named adapter can have: a prefix of the model's own takes positions too.
  virtual std::int64_t context() const { return config().max_position_embeddings; }
  // Sequences in any number and lengths; implementations batch them. Throws Error when one exceeds the
  // context.
  virtual std::vector<Scores> score(std::span<const Sequence> sequences,
                                    const ScoreOptions& options = {}) = 0;
  // Continues every prompt until an end token (not passed to the callback), options.max_tokens, the context's
  // end, or false.
  virtual void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                        const TokenCallback& callback) = 0;
};

}  // namespace retort
