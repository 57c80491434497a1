#include "runtime/engine.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/batcher.h"
#include "runtime/engine_language_model.h"
#include "support/language_model_contract.h"
#include "unit/runtime/random_model.h"
#include "unit/runtime/reference.h"

namespace retort {
namespace {

std::vector<TokenId> random_tokens(std::size_t count, std::uint64_t seed) {
  std::vector<TokenId> tokens(count);
  Random random(seed, 99);
  for (TokenId& token : tokens) token = static_cast<TokenId>(3 + random.below(58));
  return tokens;
}

ModelConfig gpt2_like() {
  ModelConfig config = small_config();
  config.model_type = "gpt2";
  config.normalization = Normalization::layer_norm;
  config.norm_eps = 1e-5;
  config.position_encoding = PositionEncoding::learned;
  config.activation = Activation::gelu_tanh;
  config.gated_mlp = false;
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  config.tie_word_embeddings = true;
  return config;
}

ModelConfig qwen3_like() {
  ModelConfig config = small_config();
  config.model_type = "qwen3";
  config.qk_norm = true;
  config.attention_bias = true;
  config.tie_word_embeddings = true;
  config.rope_theta = 1e6;
  return config;
}

ModelConfig llama3_like() {
  ModelConfig config = small_config();
  config.mlp_bias = true;
  config.activation = Activation::gelu;
  config.rope_scaling = {.type = RopeScaling::Type::llama3,
                         .factor = 8,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_max_position_embeddings = 32};
  return config;
}

ModelConfig opt_like() {
  ModelConfig config = gpt2_like();
  config.activation = Activation::relu;
  config.tie_word_embeddings = false;
  return config;
}

class EngineFamilies : public testing::TestWithParam<ModelConfig (*)()> {};

TEST_P(EngineFamilies, AgreesWithDoublePrecision) {
  const auto weights = std::make_shared<RandomWeights>(GetParam()());
  const Reference reference(*weights);
  // Pieces of 16 tokens: sequences are cut, and several share a step.
  const auto model =
      as_language_model(std::make_shared<Engine>(weights, EngineOptions{.max_batch_tokens = 16}));
  std::vector<Sequence> sequences;
  for (const std::size_t length : {2, 37, 1, 9, 96, 70})
    sequences.push_back({random_tokens(length, length), ""});
  const std::vector<Scores> scores = model->score(sequences, {});
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const Reference::Rows expected = reference.logprobs(sequences[s].tokens);
    ASSERT_EQ(scores[s].logprobs.size(), sequences[s].tokens.size() - 1);
    for (std::size_t t = 0; t + 1 < sequences[s].tokens.size(); ++t)
      ASSERT_NEAR(scores[s].logprobs[t], expected[t][static_cast<std::size_t>(sequences[s].tokens[t + 1])],
                  3e-5)
          << "sequence " << s << ", position " << t;
  }
}

TEST_P(EngineFamilies, KeepsTheContractOfLanguageModels) {
  const auto model = as_language_model(
      std::make_shared<Engine>(std::make_shared<RandomWeights>(GetParam()()), EngineOptions{}));
  check_language_model(
      *model,
      {.sequences = {{random_tokens(5, 1), ""}, {random_tokens(1, 2), ""}, {random_tokens(40, 3), ""}},
       .adapter = "",
       .tolerance = 2e-5f});
}

INSTANTIATE_TEST_SUITE_P(All, EngineFamilies,
                         testing::Values(small_config, gpt2_like, qwen3_like, llama3_like, opt_like));

// Next-token logits of the last token after reading `tokens`.
std::vector<float> read(Engine& engine, SequenceId id, std::span<const TokenId> tokens) {
  const Piece piece{.sequence = id, .tokens = tokens};
  EXPECT_EQ(engine.step(std::span(&piece, 1)), 1);
  const std::span<float> logits = engine.logits(0, 1);
  return {logits.begin(), logits.end()};
}

std::vector<float> read_alone(Engine& engine, std::span<const TokenId> tokens) {
  const SequenceId id = engine.cache().add();
  const std::vector<float> logits = read(engine, id, tokens);
  engine.cache().remove(id);
  return logits;
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, float tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance);
}

TEST(Engine, ACacheThatNoMemoryHoldsIsRefused) {
  const ModelConfig config = small_config();
  EngineOptions options{.cache_tokens = std::int64_t{1} << 32};
  try {
    Engine engine(std::make_shared<RandomWeights>(config), options);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.parts().where, "cache_tokens");
    EXPECT_EQ(error.exit_code(), 2);
  }
}

TEST(Engine, AStepMixesPromptPiecesAndSingleTokens) {
  Engine engine(std::make_shared<RandomWeights>(small_config()), {.reuse_prefix = false});
  const std::vector<TokenId> a = random_tokens(50, 1), b = random_tokens(33, 2), c = random_tokens(7, 3);
  const SequenceId ids[] = {engine.cache().add(), engine.cache().add(), engine.cache().add()};
  const Piece first[] = {{ids[0], std::span(a).first(49), Outputs::none},
                         {ids[1], std::span(b).first(20), Outputs::none}};
  EXPECT_EQ(engine.step(first), 0);
  const Piece second[] = {{ids[0], std::span(a).last(1), Outputs::last},
                          {ids[1], std::span(b).last(13), Outputs::last},
                          {ids[2], c, Outputs::all}};
  ASSERT_EQ(engine.step(second), 9);
  const std::span<float> all = engine.logits(0, 9);
  const auto row = [&](std::size_t i) {
    return std::vector<float>(all.begin() + i * 61, all.begin() + (i + 1) * 61);
  };
  const std::vector<float> rows[] = {row(0), row(1), row(8)};
  for (const SequenceId id : ids) engine.cache().remove(id);
  expect_near(rows[0], read_alone(engine, a), 1e-5f);
  expect_near(rows[1], read_alone(engine, b), 1e-5f);
  expect_near(rows[2], read_alone(engine, c), 1e-5f);
}

TEST(Engine, ForksGoTheirOwnWays) {
  Engine engine(std::make_shared<RandomWeights>(small_config()), {});
  const std::vector<TokenId> past = random_tokens(40, 1), one = random_tokens(3, 2),
                             two = random_tokens(5, 3);
  const SequenceId a = engine.cache().add();
  read(engine, a, past);
  const SequenceId b = engine.cache().fork(a);
  const std::vector<float> after_one = read(engine, a, one), after_two = read(engine, b, two);
  const auto joined = [&](const std::vector<TokenId>& more) {
    std::vector<TokenId> all = past;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_near(after_one, read_alone(engine, joined(one)), 1e-5f);
  expect_near(after_two, read_alone(engine, joined(two)), 1e-5f);
}

TEST(Engine, ReusedPrefixesGiveTheSame) {
  Engine engine(std::make_shared<RandomWeights>(small_config()), {});
  const std::vector<TokenId> prompt = random_tokens(70, 1);
  const std::vector<float> fresh = read_alone(engine, prompt);
  const SequenceId id = engine.cache().add();
  ASSERT_EQ(engine.cache().reuse_prefix(id, prompt), 64);
  expect_near(read(engine, id, std::span(prompt).subspan(64)), fresh, 1e-5f);
}

TEST(Engine, APromptGivesTheSameBitsWhereverItIsCut) {
  ModelConfig config = small_config();
  config.head_dim = 16;
  const std::vector<TokenId> prompt = random_tokens(70, 1);
  for (const auto& [encoding, type] :
       {std::pair("f32", "f32"), {"f32", "f16"}, {"f32", "q8"}, {"bf16", "f16"}}) {
    Engine engine(std::make_shared<RandomWeights>(config, 1, encoding),
                  {.cache_dtype = type, .reuse_prefix = false});
    const std::vector<float> whole = read_alone(engine, prompt);
    for (const std::size_t last : {1u, 2u, 38u}) {
      const SequenceId id = engine.cache().add();
      read(engine, id, std::span(prompt).first(prompt.size() - last));
      const Piece rest{.sequence = id, .tokens = std::span(prompt).last(last), .prompt_tokens = 70};
      ASSERT_EQ(engine.step(std::span(&rest, 1)), 1);
      const std::span<float> logits = engine.logits(0, 1);
      EXPECT_EQ(std::vector<float>(logits.begin(), logits.end()), whole)
          << encoding << ' ' << type << ' ' << last;
      engine.cache().remove(id);
    }
  }
}

TEST(Engine, PromptsAndAnswersGiveTheSameBitsAmongOthers) {
  Engine engine(std::make_shared<RandomWeights>(small_config(), 1, "bf16"), {.reuse_prefix = false});
  const std::vector<TokenId> a = random_tokens(50, 1), b = random_tokens(33, 2), c = random_tokens(7, 3);
  // The last token of `a` alone, as an answer's, all of `b` and two outputs of `c`, in steps of their own and
  // in one.
  std::vector<std::vector<float>> found[2];
  for (const bool together : {false, true}) {
    const SequenceId ids[] = {engine.cache().add(), engine.cache().add(), engine.cache().add()};
    read(engine, ids[0], std::span(a).first(49));
    const Piece pieces[] = {
        {ids[1], b, Outputs::last}, {ids[0], std::span(a).last(1)}, {ids[2], c, Outputs::all}};
    for (std::size_t i = 0; i < (together ? 1 : 3); ++i) {
      const std::int64_t rows = engine.step(std::span(pieces).subspan(i, together ? 3 : 1));
      for (std::int64_t begin = 0; begin < rows; begin += 4) {
        const std::int64_t count = std::min<std::int64_t>(4, rows - begin);
        const std::span<float> logits = engine.logits(begin, count);
        for (std::int64_t row = 0; row < count; ++row)
          found[together].emplace_back(logits.begin() + row * 61, logits.begin() + (row + 1) * 61);
      }
    }
    for (const SequenceId id : ids) engine.cache().remove(id);
  }
  EXPECT_EQ(found[0].size(), 9u);
  EXPECT_EQ(found[0], found[1]);
}

TEST(Engine, SmallerCacheTypesStayClose) {
  const auto weights = std::make_shared<RandomWeights>(qwen3_like());
  const std::vector<TokenId> prompt = random_tokens(90, 1);
  Engine exact(weights, {.cache_dtype = "f32"});
  const std::vector<float> expected = read_alone(exact, prompt);
  for (const auto& [type, tolerance] : {std::pair{"f16", 2e-2f}, std::pair{"q8", 0.3f}}) {
    Engine engine(weights, {.cache_dtype = type});
    expect_near(read_alone(engine, prompt), expected, tolerance);
  }
}

TEST(Engine, WhatDoesNotFitIsAnErrorAndChangesNothing) {
  Engine engine(std::make_shared<RandomWeights>(small_config()),
                {.cache_tokens = 64, .max_batch_tokens = 80});
  const SequenceId id = engine.cache().add();
  const std::vector<TokenId> tokens = random_tokens(97, 1);
  const std::vector<float> before = read(engine, id, std::span(tokens).first(30));
  const auto step = [&](std::span<const TokenId> more) {
    const Piece piece{.sequence = id, .tokens = more};
    engine.step(std::span(&piece, 1));
  };
  EXPECT_THROW(step(std::span(tokens).subspan(30, 67)), Error) << "context";
  EXPECT_THROW(step(std::span(tokens).subspan(30, 40)), Error) << "cache";
  EXPECT_THROW(step({}), Error);
  const std::vector<TokenId> wrong = {3, 61};
  EXPECT_THROW(step(wrong), Error);
  EXPECT_EQ(engine.cache().length(id), 30);
  EXPECT_EQ(engine.cache().available_blocks(), 1);
}

TEST(Batcher, ManyRequestsInASmallCacheGetWhatTheyGetAlone) {
  const auto weights = std::make_shared<RandomWeights>(small_config());
  Engine engine(weights, {.cache_tokens = 160, .max_batch_tokens = 24});
  const GenerateOptions options{.max_tokens = 12, .temperature = 0.8, .repetition_penalty = 1.1, .seed = 4};
  std::vector<std::vector<TokenId>> prompts, together(9), alone(9);
  for (std::size_t i = 0; i < 9; ++i) prompts.push_back(random_tokens(1 + 9 * i, i % 3));
  const auto run = [&](std::size_t i, Batcher& batcher, std::vector<std::vector<TokenId>>& out) {
    batcher.submit({.prompt = prompts[i],
                    .options = options,
                    .draw = i,
                    .on_token = [&out, i](const TokenLogprob& token, auto) {
                      out[i].push_back(token.token);
                      return true;
                    }});
  };
  {
    Batcher batcher(engine, 4);
    for (std::size_t i = 0; i < 9; ++i) run(i, batcher, together);
    while (batcher.step()) EXPECT_LE(batcher.running(), 4u);
    EXPECT_GT(batcher.reused_tokens(), 0) << "prompts of one seed begin alike";
  }
  EXPECT_EQ(engine.cache().available_blocks(), engine.cache().total_blocks());
  for (std::size_t i = 0; i < 9; ++i) {
    Engine fresh(weights, {.reuse_prefix = false});
    Batcher batcher(fresh);
    run(i, batcher, alone);
    while (batcher.step()) {
    }
  }
  EXPECT_EQ(together, alone);
}

TEST(Batcher, SaysHowAnAnswerEnded) {
  Engine engine(std::make_shared<RandomWeights>(small_config()), {});
  Batcher batcher(engine);
  std::vector<FinishReason> reasons;
  std::size_t tokens = 0;
  const auto submit = [&](std::size_t length, std::int64_t max_tokens, bool go_on) {
    return batcher.submit(
        {.prompt = random_tokens(length, 5),
         .options = {.max_tokens = max_tokens, .logit_bias = {{2, -1e9f}}},
         .top_logprobs = 3,
         .on_token =
             [&tokens, go_on](const TokenLogprob& token, std::span<const TokenLogprob> top) {
               ++tokens;
               EXPECT_EQ(top.size(), 3u);
               EXPECT_GE(top[0].logprob, token.logprob);
               EXPECT_GE(top[0].logprob, top[2].logprob);
               return go_on;
             },
         .on_finish = [&](FinishReason reason) { reasons.push_back(reason); }});
  };
  submit(5, 3, true);
  while (batcher.step()) {
  }
  submit(94, 50, true);
  while (batcher.step()) {
  }
  submit(5, 50, false);
  while (batcher.step()) {
  }
  const auto ticket = submit(5, 50, true);
  batcher.step();
  batcher.cancel(ticket);
  EXPECT_FALSE(batcher.step());
  EXPECT_EQ(reasons, (std::vector<FinishReason>{FinishReason::length, FinishReason::context,
                                                FinishReason::stopped, FinishReason::cancelled}));
  EXPECT_EQ(tokens, 3u + 2u + 1u + 1u);
  EXPECT_EQ(engine.cache().available_blocks(), engine.cache().total_blocks());
  EXPECT_THROW(batcher.submit({.prompt = {}, .options = {}, .on_token = nullptr}), Error);
  EXPECT_THROW(batcher.submit({.prompt = {61}, .options = {}, .on_token = nullptr}), Error);
  EXPECT_THROW(batcher.submit({.prompt = random_tokens(97, 1), .options = {}, .on_token = nullptr}), Error);
}

TEST(Batcher, ARequestThatCanNeverFitIsRefused) {
  Engine engine(std::make_shared<RandomWeights>(small_config()), {.cache_tokens = 32});
  Batcher batcher(engine);
  EXPECT_THROW(
      batcher.submit({.prompt = random_tokens(20, 1), .options = {.max_tokens = 20}, .on_token = nullptr}),
      Error);
  EXPECT_NO_THROW(
      batcher.submit({.prompt = random_tokens(20, 1), .options = {.max_tokens = 13}, .on_token = nullptr}));
}

}  // namespace
}  // namespace retort
