// Adapters beside the engine's matrices: against the same changes merged into the weights, each sequence with
// its own, and what goes wrong.
#include "runtime/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "runtime/batcher.h"
#include "runtime/engine_language_model.h"
#include "runtime/forward.h"
#include "unit/runtime/random_model.h"

namespace retort {
namespace {
using testing::HasSubstr;

std::vector<float> normal(std::int64_t count, std::uint64_t seed, double size) {
  Random random(seed, 7);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(size * random.normal());
  return values;
}

// Beside every linear layer of every layer whose number is even.
AdapterWeights random_adapter(const ModelConfig& config, std::int64_t rank, std::uint64_t seed) {
  AdapterWeights adapter{.where = "random adapter", .lora = {}, .virtual_tokens = 0, .prefix = {}};
  for (const ParameterSpec& spec : parameter_specs(config)) {
    if (spec.shape.size() != 2 || !spec.name.starts_with("model.layers.") || spec.name[13] % 2 == 1) continue;
    const std::uint64_t own = seed * 1000 + adapter.lora.size();
    adapter.lora.push_back({.parameter = spec.name,
                            .rank = rank,
                            .in = spec.shape[1],
                            .out = spec.shape[0],
                            .a = normal(rank * spec.shape[1], own, 0.2),
                            .b = normal(rank * spec.shape[0], own + 500, 0.2),
                            .scale = 0.7});
  }
  return adapter;
}

AdapterWeights random_prefix(const ModelConfig& config, std::int64_t tokens, std::uint64_t seed) {
  std::int64_t width = 0;
  for (const LayerConfig& layer : config.layers) width += 2 * layer.num_key_value_heads * config.head_dim;
  return {.where = "random prefix",
          .lora = {},
          .virtual_tokens = tokens,
          .prefix = normal(tokens * width, seed, 0.5)};
}

// W + Σ weight · scale · B A, in double.
class MergedWeights : public ModelWeights {
 public:
  MergedWeights(const ModelConfig& config, std::vector<WeightedAdapter> stack)
      : base_(config), stack_(std::move(stack)) {}
  const ModelConfig& config() const override { return base_.config(); }
  EncodedTensor get(const ParameterSpec& spec) const override {
    std::vector<float> values = base_.load(spec);
    for (const auto& [adapter, weight] : stack_)
      for (const LoraPart& part : adapter->lora) {
        if (part.parameter != spec.name) continue;
        for (std::int64_t row = 0; row < part.out; ++row)
          for (std::int64_t column = 0; column < part.in; ++column) {
            double sum = 0;
            for (std::int64_t k = 0; k < part.rank; ++k)
              sum += static_cast<double>(part.b[static_cast<std::size_t>(row * part.rank + k)]) *
                     part.a[static_cast<std::size_t>(k * part.in + column)];
            values[static_cast<std::size_t>(row * part.in + column)] +=
                static_cast<float>(weight * part.scale * sum);
          }
      }
    return owned_f32(spec, values);
  }
  void check() const override {}
  std::string where() const override { return "merged weights"; }

 private:
  RandomWeights base_;
  std::vector<WeightedAdapter> stack_;
};

Sequence sequence_of(std::size_t count, std::uint64_t seed, std::string adapter = "") {
  Random random(seed, 99);
  Sequence sequence{std::vector<TokenId>(count), std::move(adapter)};
  for (TokenId& token : sequence.tokens) token = static_cast<TokenId>(3 + random.below(58));
  return sequence;
}

ModelConfig ungated_config() {
  ModelConfig config = small_config();
  config.model_type = "gpt2";
  config.normalization = Normalization::layer_norm;
  config.position_encoding = PositionEncoding::learned;
  config.gated_mlp = false;
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  return config;
}

std::vector<float> score(std::shared_ptr<Engine> engine, const Sequence& sequence) {
  return as_language_model(std::move(engine))->score(std::span(&sequence, 1))[0].logprobs;
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, float tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << i;
}

TEST(EngineAdapters, AreEqualToMergedWeights) {
  for (const ModelConfig& config : {small_config(), ungated_config()}) {
    const AdapterWeights a = random_adapter(config, 3, 1), b = random_adapter(config, 5, 2);
    for (const std::vector<WeightedAdapter>& stack :
         {std::vector<WeightedAdapter>{{&a, 1}}, {{&a, 0.25}, {&b, -1.5}}}) {
      const auto engine = std::make_shared<Engine>(std::make_shared<RandomWeights>(config), EngineOptions{});
      const auto merged =
          std::make_shared<Engine>(std::make_shared<MergedWeights>(config, stack), EngineOptions{});
      engine->add_adapter("stack", stack);
      const std::vector<float> plain = score(engine, sequence_of(60, 3));
      const std::vector<float> expected = score(merged, sequence_of(60, 3));
      expect_near(score(engine, sequence_of(60, 3, "stack")), expected, 1e-4f);
      EXPECT_GT(std::abs(plain[5] - expected[5]), 1e-2) << "the adapter changes something";
    }
  }
}

// Sixteen sequences, eight adapters and the base among them: the same bits as alone.
TEST(EngineAdapters, EachSequenceHasItsOwn) {
  const ModelConfig config = small_config();
  const auto weights = std::make_shared<RandomWeights>(config);
  std::vector<AdapterWeights> adapters;
  for (std::uint64_t i = 0; i < 8; ++i)
    adapters.push_back(random_adapter(config, 1 + static_cast<std::int64_t>(i), i));
  const auto make_engine = [&](bool with_adapters) {
    auto engine = std::make_shared<Engine>(weights, EngineOptions{.max_batch_tokens = 64});
    for (std::size_t i = 0; with_adapters && i < adapters.size(); ++i) {
      const WeightedAdapter one{&adapters[i], 1};
      engine->add_adapter(std::string(1, static_cast<char>('a' + i)), std::span(&one, 1));
    }
    return engine;
  };
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < 16; ++i)
    sequences.push_back(
        sequence_of(5 + 3 * i, i, i % 5 == 4 ? "" : std::string(1, static_cast<char>('a' + i % 8))));
  const std::vector<Scores> together = as_language_model(make_engine(true))->score(sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    EXPECT_EQ(score(make_engine(!sequences[i].adapter.empty()), sequences[i]), together[i].logprobs) << i;

  // Answers too, whose steps carry one token of each.
  const auto generate = [&](std::shared_ptr<Engine> engine, std::span<const Sequence> prompts) {
    std::vector<std::vector<TokenId>> answers(prompts.size());
    as_language_model(std::move(engine))
        ->generate(prompts, {.max_tokens = 12, .temperature = 0}, [&](std::size_t i, TokenId token, float) {
          answers[i].push_back(token);
          return true;
        });
    return answers;
  };
  const auto answers = generate(make_engine(true), sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    EXPECT_EQ(generate(make_engine(true), std::span(sequences).subspan(i, 1))[0], answers[i]) << i;
}

TEST(EngineAdapters, BlocksAreReusedBehindTheSameAdapterOnly) {
  const ModelConfig config = small_config();
  Engine engine(std::make_shared<RandomWeights>(config), {});
  const AdapterWeights weights = random_adapter(config, 4, 1);
  const WeightedAdapter one{&weights, 1};
  engine.add_adapter("one", std::span(&one, 1));
  const Sequence sequence = sequence_of(70, 1);
  const auto read = [&](const std::string& adapter) {
    const SequenceId id = engine.open(adapter);
    const std::int64_t reused = engine.cache().reuse_prefix(id, sequence.tokens);
    const Piece piece{id, std::span(sequence.tokens).subspan(static_cast<std::size_t>(reused))};
    engine.step(std::span(&piece, 1));
    engine.cache().remove(id);
    return reused;
  };
  EXPECT_EQ(read(""), 0);
  EXPECT_EQ(read("one"), 0);
  EXPECT_EQ(read(""), 64);
  EXPECT_EQ(read("one"), 64);
}

// A prefix is read as keys and values that other tokens left: here those of a real beginning.
TEST(EngineAdapters, APrefixIsAPastWithoutTokens) {
  ModelConfig config = small_config();
  for (const std::int64_t length : {5, 40}) {
    Engine engine(std::make_shared<RandomWeights>(config), {.cache_dtype = "f32"});
    const Sequence whole = sequence_of(static_cast<std::size_t>(length) + 20, 1);
    const auto past = std::span(whole.tokens).first(static_cast<std::size_t>(length));
    const auto rest = std::span(whole.tokens).subspan(static_cast<std::size_t>(length));
    const SequenceId written = engine.cache().add();
    const Piece first{written, past};
    engine.step(std::span(&first, 1));
    // Out of the cache's blocks into the order of a prefix: per layer and position keys, then values.
    AdapterWeights prefix{.where = "", .lora = {}, .virtual_tokens = length, .prefix = {}};
    const CachePlan plan(config, CacheType::f32, engine.cache().block_tokens());
    const std::int64_t size = config.head_dim, tokens = engine.cache().block_tokens();
    for (std::int64_t position = 0; position < length; ++position)
      for (std::size_t layer = 0; layer < config.layers.size(); ++layer)
        for (const bool values : {false, true})
          for (std::int64_t head = 0; head < config.layers[layer].num_key_value_heads; ++head)
            for (std::int64_t i = 0; i < size; ++i) {
              const std::byte* block = engine.cache().block(
                  engine.cache().blocks(written)[static_cast<std::size_t>(position / tokens)]);
              const auto* floats = reinterpret_cast<const float*>(block + plan.offsets[layer] +
                                                                  head * plan.layers[layer].head_bytes());
              const std::int64_t at = position % tokens;
              prefix.prefix.push_back(values ? floats[tokens * size + at * size + i]
                                             : floats[i * tokens + at]);
            }
    engine.cache().remove(written);
    const WeightedAdapter one{&prefix, 1};
    engine.add_adapter("prefix", std::span(&one, 1));
    EXPECT_EQ(engine.virtual_tokens("prefix"), length);
    const auto logits_of = [&](const std::string& adapter, std::span<const TokenId> read) {
      const SequenceId id = engine.open(adapter);
      const Piece piece{id, read};
      engine.step(std::span(&piece, 1));
      const std::span<float> row = engine.logits(0, 1);
      engine.cache().remove(id);
      return std::vector<float>(row.begin(), row.end());
    };
    const std::vector<float> expected = logits_of("", whole.tokens);
    expect_near(logits_of("prefix", rest), expected, 1e-5f);
    expect_near(logits_of("prefix", rest), expected, 1e-5f);  // a fork leaves the prefix as it was
    const std::vector<TokenId> most(static_cast<std::size_t>(96 - length), 3);
    EXPECT_NO_THROW(engine.check_tokens(most, "prefix", "test"));
    EXPECT_THROW(engine.check_tokens(std::vector<TokenId>(most.size() + 1, 3), "prefix", "test"), Error);
    const std::shared_ptr<Engine> shared(&engine, [](Engine*) {});
    EXPECT_EQ(as_language_model(shared, "prefix")->context(), 96 - length);
    EXPECT_EQ(as_language_model(shared)->context(), 96);
    Batcher batcher(engine);
    FinishReason reason{};
    batcher.submit({.prompt = most,
                    .adapter = "prefix",
                    .options = {.max_tokens = 9, .logit_bias = {{2, -1e9f}}},
                    .on_token = [](auto&&, auto&&) { return true; },
                    .on_finish = [&](FinishReason found) { reason = found; }});
    while (batcher.step()) {
    }
    EXPECT_EQ(reason, FinishReason::context);
  }
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(EngineAdapters, GoOnlyWhenNobodyUsesThem) {
  const ModelConfig config = small_config();
  Engine engine(std::make_shared<RandomWeights>(config), {});
  const AdapterWeights weights = random_adapter(config, 4, 1), prefix = random_prefix(config, 40, 2);
  const WeightedAdapter stack[] = {{&weights, 1}, {&prefix, 1}};
  const std::int64_t free = engine.cache().available_blocks();
  engine.add_adapter("medical", stack);
  const SequenceId a = engine.open("medical"), b = engine.cache().fork(a);
  EXPECT_THAT(refusal([&] { engine.remove_adapter("medical"); }), HasSubstr("2 sequences"));
  engine.cache().remove(a);
  EXPECT_THAT(refusal([&] { engine.remove_adapter("medical"); }), HasSubstr("'medical'"));
  const Sequence sequence = sequence_of(3, 1);
  const Piece piece{b, sequence.tokens};
  EXPECT_EQ(engine.step(std::span(&piece, 1)), 1) << "nothing was lost";
  engine.cache().remove(b);
  engine.remove_adapter("medical");
  EXPECT_EQ(engine.cache().available_blocks(), free);
  EXPECT_THAT(refusal([&] { engine.open("medical"); }), HasSubstr("medical"));
  engine.add_adapter("medical", stack);
  EXPECT_THAT(refusal([&] { engine.add_adapter("medical", stack); }), HasSubstr("twice"));
  EXPECT_THAT(refusal([&] { engine.open("medicla"); }), HasSubstr("medical"));
  EXPECT_THAT(refusal([&] { engine.add_adapter("", stack); }), HasSubstr("name"));
  const WeightedAdapter two[] = {{&prefix, 1}, {&prefix, 1}}, half[] = {{&prefix, 0.5}};
  EXPECT_THAT(refusal([&] { engine.add_adapter("x", two); }), HasSubstr("second prefix"));
  EXPECT_THAT(refusal([&] { engine.add_adapter("x", half); }), HasSubstr("0.5"));
}

}  // namespace
}  // namespace retort
