// What every LanguageModel must do, whoever implements it: call check_language_model with a model, some
// sequences and an adapter.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "architecture/language_model.h"
#include "base/error.h"

namespace retort {

struct LanguageModelContract {
  std::vector<Sequence> sequences;  // of different lengths, the first of at least three tokens
  std::string adapter;              // the name of a loaded adapter that changes scores; empty: none is loaded
  float tolerance = 1e-5f;          // between the same sum in another batch
};

struct Generated {
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<float>> logprobs;
};

inline Generated generate_all(LanguageModel& model, std::span<const Sequence> prompts,
                              const GenerateOptions& options) {
  Generated result{std::vector<std::vector<TokenId>>(prompts.size()),
                   std::vector<std::vector<float>>(prompts.size())};
  model.generate(prompts, options, [&](std::size_t prompt, TokenId token, float logprob) {
    result.tokens.at(prompt).push_back(token);
    result.logprobs.at(prompt).push_back(logprob);
    return true;
  });
  return result;
}

inline void check_scores(LanguageModel& model, const LanguageModelContract& contract) {
  const int vocab_size = static_cast<int>(model.config().vocab_size);
  const std::vector<Scores> together =
      model.score(contract.sequences, {.entropy = true, .top_k = vocab_size});
  ASSERT_EQ(together.size(), contract.sequences.size());
  for (std::size_t s = 0; s < together.size(); ++s) {
    const std::vector<TokenId>& tokens = contract.sequences[s].tokens;
    const Scores& scores = together[s];
    ASSERT_EQ(scores.logprobs.size(), tokens.size() - 1);
    ASSERT_EQ(scores.entropy.size(), tokens.size() - 1);
    ASSERT_EQ(scores.top.size(), tokens.size() - 1);
    const Scores alone = model.score(std::span(&contract.sequences[s], 1))[0];
    EXPECT_TRUE(alone.entropy.empty() && alone.top.empty() && alone.attention.empty());
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      EXPECT_NEAR(alone.logprobs[i], scores.logprobs[i], contract.tolerance) << "a batch changes scores";
      ASSERT_EQ(scores.top[i].size(), static_cast<std::size_t>(vocab_size));
      double mass = 0, entropy = 0;
      for (std::size_t k = 0; k < scores.top[i].size(); ++k) {
        const double logprob = scores.top[i][k].logprob;
        mass += std::exp(logprob);
        if (std::isfinite(logprob)) entropy -= std::exp(logprob) * logprob;
        if (k > 0) {
          EXPECT_LE(scores.top[i][k].logprob, scores.top[i][k - 1].logprob);
        }
        if (scores.top[i][k].token == tokens[i + 1]) {
          EXPECT_NEAR(scores.top[i][k].logprob, scores.logprobs[i], contract.tolerance);
        }
      }
      EXPECT_NEAR(mass, 1, 1e-4);
      EXPECT_NEAR(entropy, scores.entropy[i], 1e-3);
    }
  }
  Sequence long_one{
      std::vector<TokenId>(static_cast<std::size_t>(model.config().max_position_embeddings) + 1), ""};
  EXPECT_THROW(model.score(std::span(&long_one, 1)), Error);
  Sequence outside{{static_cast<TokenId>(vocab_size), 0}, ""};
  EXPECT_THROW(model.score(std::span(&outside, 1)), Error);
}

inline void check_generation(LanguageModel& model, const LanguageModelContract& contract) {
  const std::size_t count = contract.sequences.size();
  const Generated greedy = generate_all(model, contract.sequences, {.max_tokens = 4});
  for (std::size_t s = 0; s < count; ++s) {
    ASSERT_LE(greedy.tokens[s].size(), 4u);
    // What was generated is what is likeliest, and costs what score() says.
    Sequence whole = contract.sequences[s];
    const std::size_t start = whole.tokens.size();
    whole.tokens.insert(whole.tokens.end(), greedy.tokens[s].begin(), greedy.tokens[s].end());
    const Scores scores = model.score(std::span(&whole, 1), {.top_k = 1})[0];
    for (std::size_t i = 0; i < greedy.tokens[s].size(); ++i) {
      EXPECT_NEAR(scores.logprobs[start - 1 + i], greedy.logprobs[s][i], contract.tolerance);
      EXPECT_NEAR(scores.top[start - 1 + i][0].logprob, greedy.logprobs[s][i], contract.tolerance);
    }
    for (const TokenId token : greedy.tokens[s])
      for (const TokenId end : model.config().eos_token_ids)
        EXPECT_NE(token, end) << "an end token was passed on";
  }

  // An end token stops before it is passed on.
  if (!greedy.tokens[0].empty()) {
    const Generated ended =
        generate_all(model, contract.sequences, {.max_tokens = 4, .end_tokens = {greedy.tokens[0][0]}});
    EXPECT_TRUE(ended.tokens[0].empty());
  }

  // Returning false ends that sequence only.
  std::vector<std::size_t> calls(count);
  model.generate(contract.sequences, {.max_tokens = 4}, [&](std::size_t prompt, TokenId, float) {
    ++calls[prompt];
    return prompt != 0;
  });
  for (std::size_t s = 0; s < count; ++s)
    EXPECT_EQ(calls[s], s == 0 ? std::min<std::size_t>(1, greedy.tokens[s].size()) : greedy.tokens[s].size());

  const GenerateOptions drawn{.max_tokens = 4, .temperature = 1, .seed = 3};
  EXPECT_EQ(generate_all(model, contract.sequences, drawn).tokens,
            generate_all(model, contract.sequences, drawn).tokens);
  // A sequence's draws do not depend on what else is in the batch.
  EXPECT_EQ(generate_all(model, std::span(contract.sequences).first(1), drawn).tokens[0],
            generate_all(model, contract.sequences, drawn).tokens[0]);
}

inline void check_adapters(LanguageModel& model, const LanguageModelContract& contract) {
  Sequence base = contract.sequences[0], unknown = base;
  base.adapter.clear();
  unknown.adapter = "no such adapter";
  EXPECT_THROW(model.score(std::span(&unknown, 1)), Error);
  EXPECT_THROW(model.generate(std::span(&unknown, 1), {}, [](auto...) { return true; }), Error);
  if (contract.adapter.empty()) return;
  Sequence adapted = base;
  adapted.adapter = contract.adapter;
  const Sequence both[2] = {base, adapted};
  const std::vector<Scores> mixed = model.score(both);
  const Scores only_base = model.score(std::span(&base, 1))[0],
               only_adapted = model.score(std::span(&adapted, 1))[0];
  EXPECT_NE(only_base.logprobs, only_adapted.logprobs) << "the adapter changes nothing";
  for (std::size_t i = 0; i < only_base.logprobs.size(); ++i) {
    EXPECT_NEAR(mixed[0].logprobs[i], only_base.logprobs[i], contract.tolerance) << "adapters leak";
    EXPECT_NEAR(mixed[1].logprobs[i], only_adapted.logprobs[i], contract.tolerance) << "adapters leak";
  }
}

inline void check_language_model(LanguageModel& model, const LanguageModelContract& contract) {
  check_scores(model, contract);
  check_generation(model, contract);
  check_adapters(model, contract);
}

}  // namespace retort
