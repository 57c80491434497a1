#include "architecture/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "architecture/family.h"
#include "base/error.h"
#include "unit/architecture/example_configs.h"

namespace retort {
namespace {
using testing::HasSubstr;

ModelConfig example(const std::string& name) {
  return find_family(name, "x").parse(example_config(name), "config.json");
}

void expect_frequencies(const ModelConfig& config, const std::vector<double>& expected) {
  const std::vector<double> found = rope_frequencies(config);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i] / expected[i], 1, 1e-14) << i;
}

// The numbers are transformers' ROPE_INIT_FUNCTIONS, run in double precision.
TEST(RopeFrequencies, EqualTransformers) {
  ModelConfig config;
  config.head_dim = 16;
  config.rope_theta = 500000;
  config.rope_scaling = {RopeScaling::Type::llama3, 8, 1, 4, 8192};
  expect_frequencies(
      config, {1.0, 0.19392274474868576, 0.03760603093086393, 0.0072926647372171085, 0.0005248461609929547,
               3.428102195952591e-05, 6.647869871181236e-06, 1.2891731721515574e-06});
  config.rope_theta = 10000;
  config.rope_scaling = {RopeScaling::Type::linear, 4, 1, 4, 0};
  expect_frequencies(config, {0.25, 0.07905694150420949, 0.025, 0.007905694150420948, 0.0025,
                              0.0007905694150420947, 0.00025, 7.905694150420948e-05});
  config.rope_scaling = {};
  expect_frequencies(config, {1, 0.31622776601683794, 0.1, 0.03162277660168379, 0.01, 0.0031622776601683794,
                              0.001, 0.00031622776601683794});
}

TEST(ParameterSpecs, NamesAndShapes) {
  const ModelConfig llama = example("llama");
  const std::vector<ParameterSpec> specs = parameter_specs(llama);
  ASSERT_EQ(specs.size(), 3 + 3 * 9u);
  EXPECT_EQ(specs[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(specs[3].name, "model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(specs[3].shape, (std::vector<std::int64_t>{8, 16}));
  EXPECT_EQ(specs.back().name, "lm_head.weight");
  const std::int64_t layer = 16 + 16 * 16 * 2 + 8 * 16 * 2 + 16 + 24 * 16 * 3;
  EXPECT_EQ(parameter_count(llama), 2 * 50 * 16 + 3 * layer + 16);

  const ModelConfig gpt2 = example("gpt2");
  EXPECT_EQ(parameter_specs(gpt2)[1].name, "model.embed_positions.weight");
  EXPECT_EQ(parameter_specs(gpt2).back().name, "model.norm.bias");
  EXPECT_EQ(parameter_specs(example("qwen3"))[5].name, "model.layers.0.self_attn.q_norm.weight");
  EXPECT_EQ(parameter_specs(example("qwen3"))[5].shape, (std::vector<std::int64_t>{6}));
}

// Published sizes: 124,439,808 (GPT-2 small), 494,032,768 (Qwen2.5-0.5B), 8,030,261,248 (Llama 3.1 8B).
TEST(ParameterCount, OfPublishedModels) {
  Json gpt2 = example_config("gpt2");
  gpt2.update(
      Json::parse(R"({"vocab_size":50257,"n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024})"));
  EXPECT_EQ(parameter_count(find_family("gpt2", "x").parse(gpt2, "x")), 124'439'808);
  Json qwen = example_config("qwen2");
  qwen.update(
      Json::parse(R"({"vocab_size":151936,"hidden_size":896,"intermediate_size":4864,"num_hidden_layers":24,
    "num_attention_heads":14,"num_key_value_heads":2})"));
  EXPECT_EQ(parameter_count(find_family("qwen2", "x").parse(qwen, "x")), 494'032'768);
  Json llama = example_config("llama");
  llama.update(
      Json::parse(R"({"vocab_size":128256,"hidden_size":4096,"intermediate_size":14336,"num_hidden_layers":32,
    "num_attention_heads":32,"num_key_value_heads":8})"));
  EXPECT_EQ(parameter_count(find_family("llama", "x").parse(llama, "x")), 8'030'261'248);
}

TEST(Flops, CountsLinearLayersHeadAndAttention) {
  const ModelConfig llama = example("llama");
  const double layer = 2.0 * (16 * 16 * 2 + 8 * 16 * 2 + 24 * 16 * 3);
  EXPECT_EQ(flops_per_token(llama, 10), 2.0 * 50 * 16 + 3 * (layer + 4.0 * 10 * 16));
  ModelConfig mistral = example("mistral");  // a window of 8
  EXPECT_EQ(flops_per_token(mistral, 8), flops_per_token(mistral, 1000));
  EXPECT_LT(flops_per_token(mistral, 7), flops_per_token(mistral, 8));
}

TEST(CheckConfig, NamesTheKey) {
  const auto refusal = [](const std::function<void(ModelConfig&)>& change, const char* family = "llama") {
    ModelConfig config = example(family);
    change(config);
    try {
      check_config(config, "c.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal([](ModelConfig&) {}), "accepted");
  EXPECT_THAT(refusal([](ModelConfig& c) { c.vocab_size = 0; }), HasSubstr("c.json: vocab_size: found 0"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.hidden_size = -1; }), HasSubstr("hidden_size"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.hidden_size = INT64_C(1) << 31; }), HasSubstr("hidden_size"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.vocab_size = c.hidden_size = INT32_MAX; }),
              HasSubstr("a tensor of"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.head_dim = INT32_MAX; }), HasSubstr("head_dim"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.head_dim = 3; }), HasSubstr("an even number"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers.clear(); }), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers.resize(1025, c.layers[0]); }),
              HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers[1].num_key_value_heads = 3; }),
              HasSubstr("num_key_value_heads of layer 1"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers[1].num_key_value_heads = 0; }),
              HasSubstr("num_key_value_heads of layer 1"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers[2].intermediate_size = 0; }),
              HasSubstr("intermediate_size of layer 2"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.layers[2].sliding_window = -1; }),
              HasSubstr("sliding_window of layer 2"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.norm_eps = 0; }), HasSubstr("epsilon"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.rope_theta = -1; }), HasSubstr("rope_theta"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.rope_scaling.factor = NAN; }), HasSubstr("factor"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.rope_scaling.low_freq_factor = 4; }),
              HasSubstr("more than low_freq_factor"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.rope_scaling.original_max_position_embeddings = 0; }),
              HasSubstr("original_max"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.bos_token_id = 50; }), HasSubstr("bos_token_id"));
  EXPECT_THAT(refusal([](ModelConfig& c) { c.eos_token_ids = {1, -1}; }), HasSubstr("eos_token_id"));
  EXPECT_THAT(refusal(
                  [](ModelConfig& c) {
                    c.max_position_embeddings = INT32_MAX;
                    c.hidden_size = 1024;
                  },
                  "gpt2"),
              HasSubstr("max_position_embeddings"));
}

}  // namespace
}  // namespace retort
