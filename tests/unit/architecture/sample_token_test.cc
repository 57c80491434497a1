#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "architecture/generate_options.h"
#include "base/error.h"

namespace retort {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The tokens that can be drawn, by looking at what is left of the logits.
std::set<TokenId> kept(std::vector<float> logits, GenerateOptions options,
                       std::vector<TokenId> history = {}) {
  if (options.temperature == 0) options.temperature = 1;
  sample_token(logits, {.history = history}, options);
  std::set<TokenId> result;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] != -kInfinity) result.insert(static_cast<TokenId>(i));
  return result;
}
using Kept = std::set<TokenId>;

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TokenId greedy(std::vector<float> logits, const GenerateOptions& options = {},
               std::vector<TokenId> history = {}) {
  return sample_token(logits, {.history = history}, options);
}

TEST(SampleToken, GreedyTakesTheLowestOfEquals) {
  EXPECT_EQ(greedy({1, 3, 2, 3}), 1);
  EXPECT_EQ(greedy({-kInfinity, -5}), 1);
  EXPECT_EQ(greedy({NAN, 1, 2}), 2);
}

TEST(SampleToken, WithoutAFiniteLogitIsAnError) {
  EXPECT_THROW(greedy({NAN, -kInfinity}), Error);
  EXPECT_THROW(greedy({kInfinity, 1}), Error);
  EXPECT_THROW(greedy({}), Error);
}

TEST(SampleToken, RepetitionPenaltyOncePerToken) {
  std::vector<float> logits = {2, -2, 1.5, 0};
  const std::vector<TokenId> history = {0, 0, 1, 99, -1};
  EXPECT_EQ(sample_token(logits, {.history = history}, {.repetition_penalty = 2}), 2);
  EXPECT_EQ(logits, (std::vector<float>{1, -4, 1.5, 0}));
}

TEST(SampleToken, PresenceAndFrequencyCountTheAnswerOnly) {
  std::vector<float> logits = {5, 5, 5, 5};
  const std::vector<TokenId> history = {0, 1, 1, 2, 2, 2};
  const GenerateOptions options{.presence_penalty = 0.5, .frequency_penalty = 0.25};
  EXPECT_EQ(sample_token(logits, {.history = history, .prompt_tokens = 2}, options), 0);
  EXPECT_EQ(logits, (std::vector<float>{5, 4.25, 3.75, 5}));
}

TEST(SampleToken, BiasComesFirst) {
  std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(sample_token(logits, {}, {.logit_bias = {{0, 5}, {2, -kInfinity}, {77, 1}}}), 0);
  EXPECT_EQ(logits, (std::vector<float>{6, 2, -kInfinity}));
  EXPECT_FALSE((GenerateOptions{.logit_bias = {{0, 5}}}).takes_likeliest());
}

TEST(SampleToken, TopKKeepsTies) {
  EXPECT_EQ(kept({1, 3, 2, 0}, {.top_k = 2}), (Kept{1, 2}));
  EXPECT_EQ(kept({1, 3, 2, 2}, {.top_k = 2}), (Kept{1, 2, 3}));
  EXPECT_EQ(kept({1, 3, 2, 0}, {.top_k = 1}), (Kept{1}));
  EXPECT_EQ(kept({1, 3, 2, 0}, {.top_k = 9}), (Kept{0, 1, 2, 3}));
}

TEST(SampleToken, TopPIsTheLeastSetThatReachesP) {
  const std::vector<float> logits = logs({0.5, 0.1, 0.3, 0.1});
  EXPECT_EQ(kept(logits, {.top_p = 0.49}), (Kept{0}));
  EXPECT_EQ(kept(logits, {.top_p = 0.51}), (Kept{0, 2}));
  EXPECT_EQ(kept(logits, {.top_p = 0.81}), (Kept{0, 1, 2}));  // of equals the lower id
  EXPECT_EQ(kept(logits, {.top_p = 1e-9}), (Kept{0}));
  EXPECT_EQ(kept(logits, {.top_p = 1}), (Kept{0, 1, 2, 3}));
}

TEST(SampleToken, MinPIsRelativeToTheLikeliest) {
  const std::vector<float> logits = logs({0.5, 0.1, 0.3, 0.1});
  EXPECT_EQ(kept(logits, {.min_p = 0.5}), (Kept{0, 2}));
  EXPECT_EQ(kept(logits, {.min_p = 0.19}), (Kept{0, 1, 2, 3}));
  EXPECT_EQ(kept(logits, {.min_p = 1}), (Kept{0}));
}

TEST(SampleToken, TemperatureComesBeforeTopP) {
  const std::vector<float> logits = logs({0.5, 0.3, 0.2});
  EXPECT_EQ(kept(logits, {.temperature = 0.2, .top_p = 0.9}), (Kept{0}));        // 0.92 after sharpening
  EXPECT_EQ(kept(logits, {.temperature = 100, .top_p = 0.7}), (Kept{0, 1, 2}));  // nearly even
}

TEST(SampleToken, TopPCountsWithinTopK) {
  // Of 0.4 and 0.3 alone the first holds 0.571.
  EXPECT_EQ(kept(logs({0.4, 0.3, 0.2, 0.1}), {.top_k = 2, .top_p = 0.55}), (Kept{0}));
}

TEST(SampleToken, DrawsInProportion) {
  const std::vector<float> logits = logs({0.5, 0.2, 0.3});
  std::map<TokenId, int> counts;
  constexpr int kDraws = 20'000;
  for (std::uint64_t position = 0; position < kDraws; ++position) {
    std::vector<float> copy = logits;
    ++counts[sample_token(copy, {.sequence = 2, .position = position}, {.temperature = 1, .seed = 5})];
  }
  EXPECT_NEAR(counts[0], kDraws * 0.5, 350);  // five standard deviations
  EXPECT_NEAR(counts[1], kDraws * 0.2, 283);
  EXPECT_NEAR(counts[2], kDraws * 0.3, 324);
}

TEST(SampleToken, TheColdestDrawIsTheLikeliest) {
  for (const double temperature : {1e-300, 1e-50, 1e-44, 1e-39})
    for (const float offset : {-7.0f, 0.0f, 7.0f}) {
      std::vector<float> logits = {offset - 3, offset, offset - 1};
      EXPECT_EQ(sample_token(logits, {.sequence = 2, .position = 1}, {.temperature = temperature}), 1);
    }
}

TEST(SampleToken, SeedSequenceAndPositionDecideTheDraw) {
  const auto draws = [](std::int64_t seed, std::uint64_t sequence) {
    std::vector<TokenId> result;
    for (std::uint64_t position = 0; position < 50; ++position) {
      std::vector<float> logits(100);
      result.push_back(sample_token(logits, {.sequence = sequence, .position = position},
                                    {.temperature = 1, .seed = seed}));
    }
    return result;
  };
  EXPECT_EQ(draws(1, 2), draws(1, 2));
  EXPECT_NE(draws(1, 2), draws(1, 3));
  EXPECT_NE(draws(1, 2), draws(2, 2));
}

TEST(GenerateOptions, CheckNamesTheKey) {
  EXPECT_NO_THROW(GenerateOptions{}.check("x"));
  const auto key = [](GenerateOptions options) {
    try {
      options.check("x");
    } catch (const Error& error) {
      return error.parts().where;
    }
    return std::string("accepted");
  };
  EXPECT_EQ(key({.max_tokens = 0}), "x: max_tokens");
  EXPECT_EQ(key({.temperature = -1}), "x: temperature");
  EXPECT_EQ(key({.temperature = NAN}), "x: temperature");
  EXPECT_EQ(key({.top_k = -1}), "x: top_k");
  EXPECT_EQ(key({.top_p = 0}), "x: top_p");
  EXPECT_EQ(key({.min_p = 2}), "x: min_p");
  EXPECT_EQ(key({.repetition_penalty = 0}), "x: repetition_penalty");
}

}  // namespace
}  // namespace retort
