#include "architecture/adapter_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "architecture/gguf_adapter.h"
#include "architecture/gguf_model.h"
#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
using testing::HasSubstr;

ModelConfig base_config(const std::string& model_type, std::int64_t hidden = 32) {
  ModelConfig config;
  config.model_type = model_type;
  config.vocab_size = 40;
  config.hidden_size = hidden;
  config.head_dim = 8;
  config.max_position_embeddings = 32;
  config.layers.assign(2, {.num_attention_heads = 4, .num_key_value_heads = 2, .intermediate_size = 48});
  if (model_type == "gpt2") {
    for (LayerConfig& layer : config.layers) layer.num_key_value_heads = 4;
    config.normalization = Normalization::layer_norm;
    config.position_encoding = PositionEncoding::learned;
    config.gated_mlp = false;
    config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  }
  return config;
}

std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

class Adapters : public testing::Test {
 protected:
  // A PEFT folder with LoRA beside the modules that match.
  std::filesystem::path save(const ModelConfig& config, const std::vector<std::string>& targets,
                             std::int64_t rank = 4, AdapterConfig adapter = {}) {
    adapter.rank = rank;
    adapter.targets = targets;
    std::vector<AdapterTensor> tensors;
    for (const LinearModule& module : match_modules(linear_modules(config), targets, "test")) {
      const std::string name = kAdapterPrefix + module.name;
      tensors.push_back({name + ".lora_A.weight",
                         {rank, module.in_features},
                         random_values(rank * module.in_features, tensors.size())});
      tensors.push_back({name + ".lora_B.weight",
                         {module.out_features, rank},
                         random_values(rank * module.out_features, tensors.size())});
    }
    write_adapter_folder(folder_ / "adapter", adapter, config, tensors);
    return folder_ / "adapter";
  }
  static std::string refusal(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_F(Adapters, AreDealtOutToCanonicalWeights) {
  const ModelConfig config = base_config("gpt2");
  const AdapterWeights adapter = open_adapter_weights(save(config, {"c_attn"}), config);
  ASSERT_EQ(adapter.lora.size(), 6u);
  EXPECT_EQ(adapter.lora[1].parameter, "model.layers.0.self_attn.k_proj.weight");
  const std::vector<float> b = random_values(4 * 96, 1);  // the second tensor written
  for (const LoraPart& part : {adapter.lora[0], adapter.lora[1], adapter.lora[2]}) {
    EXPECT_EQ(part.a, random_values(4 * 32, 0));
    EXPECT_EQ(part.scale, 16.0 / 4);
    EXPECT_EQ(part.out, 32);
  }
  EXPECT_TRUE(std::equal(adapter.lora[1].b.begin(), adapter.lora[1].b.end(), b.begin() + 32 * 4));
}

TEST_F(Adapters, ComeBackFromGguf) {
  for (const char* family : {"llama", "mistral", "qwen3", "gpt2"}) {
    const ModelConfig config = base_config(family);
    AdapterConfig rslora;
    rslora.rslora = true;
    const AdapterWeights adapter = open_adapter_weights(save(config, {"all-linear"}, 3, rslora), config);
    write_gguf_adapter(folder_ / "a.gguf", adapter, config);
    const GgufFile file(folder_ / "a.gguf");
    EXPECT_EQ(file.text("general.type"), "adapter");
    EXPECT_NEAR(file.number("adapter.lora.alpha"), 16 * std::sqrt(3.0), 1e-5);
    if (std::string_view(family) == "llama") {
      // llama.cpp's q rows are interleaved, and so are B's: its row 1 is the second half's first.
      const TensorView& b = file.get("blk.0.attn_q.weight.lora_b");
      EXPECT_EQ(b.shape, (std::vector<std::int64_t>{32, 3}));
      EXPECT_NEAR(to_float(b)[3], adapter.lora[0].b[4 * 3], 1e-6);
    }
    AdapterWeights back = open_adapter_weights(folder_ / "a.gguf", config);
    ASSERT_EQ(back.lora.size(), adapter.lora.size());
    for (const LoraPart& part : adapter.lora) {
      const auto same = std::find_if(back.lora.begin(), back.lora.end(), [&](const LoraPart& other) {
        return other.parameter == part.parameter;
      });
      ASSERT_NE(same, back.lora.end()) << part.parameter;
      EXPECT_EQ(same->a, part.a);
      ASSERT_EQ(same->b.size(), part.b.size());
      for (std::size_t i = 0; i < part.b.size(); ++i)
        EXPECT_NEAR(same->b[i] * same->scale, part.b[i] * part.scale, 1e-5) << part.parameter;
    }
  }
}

TEST_F(Adapters, AnotherBaseIsNamed) {
  const auto path = save(base_config("llama"), {"q_proj"});
  EXPECT_THAT(refusal([&] { open_adapter_weights(path, base_config("llama", 64)); }),
              testing::AllOf(HasSubstr("model.layers.0.self_attn.q_proj.lora_A"), HasSubstr("another base")));
  ModelConfig shorter = base_config("llama");
  shorter.layers.pop_back();
  EXPECT_THAT(refusal([&] { open_adapter_weights(path, shorter); }), HasSubstr("model.layers.1"));
  EXPECT_THAT(refusal([&] { open_adapter_weights(path, base_config("gpt2")); }), HasSubstr("q_proj"));

  write_gguf_adapter(folder_ / "a.gguf", open_adapter_weights(path, base_config("llama")),
                     base_config("llama"));
  EXPECT_THAT(refusal([&] { open_adapter_weights(folder_ / "a.gguf", base_config("llama", 64)); }),
              testing::AllOf(HasSubstr("blk.0.attn_q.weight.lora_a"), HasSubstr("another base")));
  EXPECT_THAT(refusal([&] { open_adapter_weights(folder_ / "a.gguf", base_config("qwen3")); }),
              HasSubstr("general.architecture"));
}

TEST_F(Adapters, WhatCannotBeAddedIsRefused) {
  const ModelConfig config = base_config("llama");
  AdapterConfig dora;
  dora.dora = true;
  EXPECT_THAT(refusal([&] { open_adapter_weights(save(config, {"q_proj"}, 4, dora), config); }),
              HasSubstr("retort merge"));
  AdapterConfig whole;
  whole.trained = {"model.layers.0.mlp.up_proj"};
  EXPECT_THAT(refusal([&] { open_adapter_weights(save(config, {"q_proj"}, 4, whole), config); }),
              HasSubstr("modules_to_save"));
  EXPECT_THAT(refusal([&] { open_adapter_weights(save(config, {"q_proj"}, 33), config); }),
              testing::AllOf(HasSubstr("q_proj"), HasSubstr("a rank of 33")));
  const auto path = save(config, {"q_proj"});
  std::filesystem::remove(path / "adapter_model.safetensors");
  EXPECT_THAT(refusal([&] { open_adapter_weights(path, config); }),
              HasSubstr("no adapter_model.safetensors"));
}

TEST_F(Adapters, AModelIsNoAdapter) {
  const ModelConfig config = base_config("llama");
  GgufMetadata metadata;
  add_config(metadata, config);
  write_gguf(folder_ / "model.gguf", metadata, {});
  EXPECT_THAT(refusal([&] { open_adapter_weights(folder_ / "model.gguf", config); }),
              testing::AllOf(HasSubstr("general.type"), HasSubstr("'model'")));

  GgufMetadata alone;
  for (const auto& [key, value] :
       {std::pair{"general.architecture", "llama"}, {"general.type", "adapter"}, {"adapter.type", "lora"}})
    alone.set_text(key, value);
  alone.set_f32("adapter.lora.alpha", 4);
  const std::vector<float> values(4 * 32);
  const TensorView a{"blk.0.attn_q.weight.lora_a", DType::f32, {4, 32}, std::as_bytes(std::span(values))};
  write_gguf(folder_ / "a.gguf", alone, std::span(&a, 1));
  EXPECT_THAT(refusal([&] { open_adapter_weights(folder_ / "a.gguf", config); }),
              HasSubstr("blk.0.attn_q.weight.lora_b"));
}

TEST_F(Adapters, APrefixIsReadWhole) {
  const ModelConfig config = base_config("llama");
  AdapterConfig prefix;
  prefix.kind = AdapterConfig::Kind::prefix;
  prefix.virtual_tokens = 5;
  const std::int64_t width = 2 * 2 * 2 * 8;
  const std::vector<float> values = random_values(5 * width, 1);
  write_adapter_folder(folder_ / "p", prefix, config, {{kPrefixTensor, {5, width}, values}});
  const AdapterWeights adapter = open_adapter_weights(folder_ / "p", config);
  EXPECT_EQ(adapter.virtual_tokens, 5);
  EXPECT_EQ(adapter.prefix, values);
  EXPECT_THAT(refusal([&] { write_gguf_adapter(folder_ / "p.gguf", adapter, config); }), HasSubstr("prefix"));
  ModelConfig short_context = config;
  short_context.max_position_embeddings = 5;
  EXPECT_THAT(refusal([&] { open_adapter_weights(folder_ / "p", short_context); }),
              HasSubstr("num_virtual_tokens"));
}

}  // namespace
}  // namespace retort
