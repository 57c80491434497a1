// What each family reads out of config.json, and what it refuses to ignore.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "architecture/family.h"
#include "base/error.h"
#include "unit/architecture/example_configs.h"

namespace retort {
namespace {
using testing::HasSubstr;

ModelConfig parse(const std::string& name, const std::string& changes = "{}") {
  Json json = example_config(name);
  json.update(Json::parse(changes));
  return find_family(name, "config.json").parse(json, "config.json");
}

ModelConfig parse_without(const std::string& name, const std::string& key) {
  Json json = example_config(name);
  json.erase(key);
  return find_family(name, "config.json").parse(json, "config.json");
}

std::string refusal(const std::string& name, const std::string& changes) {
  try {
    parse(name, changes);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::int64_t> windows(const ModelConfig& config) {
  std::vector<std::int64_t> result;
  for (const LayerConfig& layer : config.layers) result.push_back(layer.sliding_window);
  return result;
}
using Windows = std::vector<std::int64_t>;

TEST(Llama, ReadsTransformers4) {
  const ModelConfig config = parse("llama");
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.layers, std::vector<LayerConfig>(3, {4, 2, 24, 0}));
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_EQ(config.rope_scaling.type, RopeScaling::Type::llama3);
  EXPECT_EQ(config.rope_scaling.original_max_position_embeddings, 32);
  EXPECT_EQ(config.eos_token_ids, (std::vector<TokenId>{2, 3}));
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_FALSE(config.pad_token_id);
  EXPECT_FALSE(config.tie_word_embeddings || config.attention_bias || config.mlp_bias ||
               config.attention_output_bias);
}

TEST(Llama, ReadsTransformers5) {
  const ModelConfig config =
      parse("llama", R"({"rope_theta":null,"rope_scaling":null,"rope_parameters":{"rope_type":"llama3",
    "rope_theta":7.0,"factor":2.0,"low_freq_factor":1,"high_freq_factor":3,"original_max_position_embeddings":16},
    "num_key_value_heads":null,"head_dim":6,"attention_bias":true,"mlp_bias":true,"eos_token_id":4,"dtype":"float32"})");
  EXPECT_EQ(config.rope_theta, 7);
  EXPECT_EQ(config.rope_scaling.high_freq_factor, 3);
  EXPECT_EQ(config.layers[0].num_key_value_heads, 4);
  EXPECT_EQ(config.head_dim, 6);
  EXPECT_TRUE(config.attention_bias && config.attention_output_bias && config.mlp_bias);
  EXPECT_EQ(config.eos_token_ids, (std::vector<TokenId>{4}));
}

TEST(Rope, OldSpellingsAndDefaults) {
  EXPECT_EQ(parse("llama", R"({"rope_scaling":{"type":"linear","factor":2}})").rope_scaling.type,
            RopeScaling::Type::linear);
  EXPECT_EQ(parse("llama", R"({"rope_scaling":{}})").rope_scaling.type, RopeScaling::Type::none);
  EXPECT_EQ(parse_without("mistral", "rope_theta").rope_theta, 10000);
  const char* no_original =
      R"({"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}})";
  EXPECT_EQ(parse("llama", no_original).rope_scaling.original_max_position_embeddings, 64);
}

TEST(Rope, RefusesWhatItCannotDo) {
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":{"rope_type":"yarn","factor":2}})"),
              HasSubstr("rope_scaling: rope_type: found 'yarn'"));
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":{"rope_type":"lineal","factor":2}})"),
              HasSubstr("Did you mean 'linear'?"));
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":{"rope_type":"linear"}})"),
              HasSubstr("factor: found nothing"));
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":{"rope_type":"linear","factor":0}})"),
              HasSubstr("factor: found 0"));
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":[1]})"), HasSubstr("an object"));
  EXPECT_THAT(refusal("llama", R"({"partial_rotary_factor":0.5})"),
              HasSubstr("partial_rotary_factor: found 0.5"));
  EXPECT_EQ(refusal("llama", R"({"partial_rotary_factor":1.0})"), "accepted");
  EXPECT_THAT(refusal("llama", R"({"rope_scaling":{"rope_type":"default","mrope_section":[1]}})"),
              HasSubstr("mrope_section"));
  EXPECT_THAT(refusal("qwen3", R"({"rope_parameters":{"full_attention":{"rope_theta":1.0}}})"),
              HasSubstr("one layer type"));
}

TEST(Mistral, WindowInAllLayers) {
  EXPECT_EQ(windows(parse("mistral")), (Windows{8, 8}));
  EXPECT_EQ(windows(parse("mistral", R"({"sliding_window":null})")), (Windows{0, 0}));
  EXPECT_EQ(windows(parse_without("mistral", "sliding_window")), (Windows{4096, 4096}));
  EXPECT_EQ(parse("mistral").head_dim, 8);
}

TEST(Qwen2, WindowsAsTransformersAppliesThem) {
  EXPECT_EQ(windows(parse("qwen2")), (Windows{0, 0, 0}));
  EXPECT_EQ(windows(parse("qwen2", R"({"use_sliding_window":true})")), (Windows{0, 8, 8}));
  EXPECT_EQ(windows(parse("qwen2", R"({"use_sliding_window":true,"sliding_window":null})")),
            (Windows{0, 0, 0}));
  const char* types =
      R"({"use_sliding_window":true,"layer_types":["sliding_attention","full_attention","full_attention"]})";
  EXPECT_EQ(windows(parse("qwen2", types)), (Windows{8, 0, 0}));
  EXPECT_THAT(refusal("qwen2", R"({"layer_types":["sliding_attention","full_attention","full_attention"]})"),
              HasSubstr("layer_types[0]: found sliding_attention without a window"));
  EXPECT_THAT(refusal("qwen2", R"({"layer_types":["full_attention"]})"), HasSubstr("1 entries"));
  EXPECT_THAT(refusal("qwen2", R"({"layer_types":["full_attention","full_atention","x"]})"),
              HasSubstr("Did you mean 'full_attention'?"));
  const ModelConfig config = parse("qwen2");
  EXPECT_TRUE(config.attention_bias && config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_output_bias);
}

TEST(Qwen3, HeadSizeAndNorms) {
  EXPECT_TRUE(parse("qwen3").qk_norm);
  EXPECT_EQ(parse("qwen3").head_dim, 6);
  EXPECT_EQ(parse_without("qwen3", "head_dim").head_dim, 128);
  EXPECT_TRUE(parse("qwen3", R"({"attention_bias":true})").attention_output_bias);
}

TEST(Gpt2, ReadsItsOwnKeys) {
  const ModelConfig config = parse("gpt2");
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.layers, std::vector<LayerConfig>(2, {4, 4, 64, 0}));
  EXPECT_EQ(config.max_position_embeddings, 32);
  EXPECT_EQ(config.activation, Activation::gelu_tanh);
  EXPECT_EQ(config.normalization, Normalization::layer_norm);
  EXPECT_EQ(config.position_encoding, PositionEncoding::learned);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(parse("gpt2", R"({"n_inner":20})").layers[0].intermediate_size, 20);
  EXPECT_THAT(refusal("gpt2", R"({"n_head":5})"),
              HasSubstr("n_head: found 5, expected a divisor of n_embd 16"));
}

TEST(Gpt2, StoredNames) {
  const ModelConfig config = parse("gpt2");
  const Family& family = find_family("gpt2", "x");
  const StoredTensor key = family.stored(config, "model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ(key.name, "transformer.h.1.attn.c_attn.weight");
  EXPECT_TRUE(key.transposed);
  EXPECT_EQ(key.row_begin, 16);
  EXPECT_EQ(key.total_rows, 48);
  const StoredTensor bias = family.stored(config, "model.layers.0.self_attn.v_proj.bias");
  EXPECT_FALSE(bias.transposed);
  EXPECT_EQ(bias.row_begin, 32);
  EXPECT_EQ(family.stored(config, "model.layers.0.mlp.down_proj.weight").name,
            "transformer.h.0.mlp.c_proj.weight");
  EXPECT_TRUE(family.ignorable("transformer.h.0.attn.bias"));
  EXPECT_FALSE(family.ignorable("transformer.h.0.attn.c_attn.bias"));
}

TEST(Opt, ReadsItsOwnKeysAndOffset) {
  const ModelConfig config = parse("opt");
  EXPECT_EQ(config.layers, std::vector<LayerConfig>(2, {4, 4, 24, 0}));
  EXPECT_EQ(config.activation, Activation::relu);
  EXPECT_TRUE(config.attention_bias && config.attention_output_bias && config.mlp_bias &&
              config.tie_word_embeddings);
  EXPECT_FALSE(parse("opt", R"({"enable_bias":false})").mlp_bias);
  const StoredTensor positions = find_family("opt", "x").stored(config, "model.embed_positions.weight");
  EXPECT_EQ(positions.row_begin, 2);
  EXPECT_EQ(positions.total_rows, 34);
}

TEST(Families, RefuseFeaturesThatChangeResults) {
  for (const char* name : {"llama", "mistral", "qwen2", "qwen3", "gpt2", "opt"}) {
    EXPECT_THAT(refusal(name, R"({"clip_qkv":8.0})"),
                HasSubstr("config.json: clip_qkv: found 8.0, expected null"))
        << name;
    EXPECT_THAT(refusal(name, R"({"logit_scale":0.5})"), HasSubstr("logit_scale: found 0.5, expected 1.0"))
        << name;
    EXPECT_THAT(refusal(name, R"({"quantization_config":{"bits":4}})"), HasSubstr("quantization_config"))
        << name;
    EXPECT_THAT(refusal(name, R"({"add_cross_attention":true})"), HasSubstr("add_cross_attention")) << name;
    EXPECT_THAT(refusal(name, R"({"pruned_heads":{"0":[1]}})"), HasSubstr("pruned_heads")) << name;
    EXPECT_EQ(refusal(name, R"({"clip_qkv":null,"logit_scale":1,"pruned_heads":{},"unsloth_version":"1"})"),
              "accepted")
        << name;
  }
  EXPECT_THAT(refusal("gpt2", R"({"scale_attn_by_inverse_layer_idx":true})"),
              HasSubstr("scale_attn_by_inverse_layer_idx"));
  EXPECT_THAT(refusal("gpt2", R"({"scale_attn_weights":false})"), HasSubstr("scale_attn_weights"));
  EXPECT_THAT(refusal("gpt2", R"({"reorder_and_upcast_attn":true})"), HasSubstr("reorder_and_upcast_attn"));
  EXPECT_THAT(refusal("opt", R"({"do_layer_norm_before":false})"), HasSubstr("do_layer_norm_before"));
  EXPECT_THAT(refusal("opt", R"({"word_embed_proj_dim":8})"),
              HasSubstr("word_embed_proj_dim: found 8, expected 16"));
  EXPECT_THAT(refusal("opt", R"({"layer_norm_elementwise_affine":false})"),
              HasSubstr("layer_norm_elementwise_affine"));
  EXPECT_THAT(refusal("opt", R"({"_remove_final_layer_norm":true})"), HasSubstr("_remove_final_layer_norm"));
  EXPECT_THAT(refusal("llama", R"({"sliding_window":8})"), HasSubstr("sliding_window"));
}

TEST(Families, NameWhatIsWrong) {
  EXPECT_THAT(refusal("llama", R"({"hidden_act":"silo"})"),
              HasSubstr("hidden_act: found 'silo', expected a supported activation. Did you mean 'silu'?"));
  EXPECT_THAT(refusal("llama", R"({"hidden_size":null})"), HasSubstr("config.json: hidden_size"));
  EXPECT_THAT(refusal("llama", R"({"hidden_size":"16"})"), HasSubstr("hidden_size: found \"16\""));
  EXPECT_THAT(refusal("llama", R"({"hidden_size":-16})"), HasSubstr("hidden_size: found -16"));
  EXPECT_THAT(refusal("llama", R"({"num_hidden_layers":2000000000})"), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refusal("llama", R"({"vocab_size":18446744073709551615})"),
              HasSubstr("vocab_size: found 18446744073709551615"));
  EXPECT_THAT(refusal("llama", R"({"eos_token_id":"x"})"), HasSubstr("eos_token_id"));
  try {
    find_family("lama", "config.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(
        error.what(),
        HasSubstr(
            "config.json: model_type: found 'lama', expected a supported family. Did you mean 'llama'?"));
  }
}

// A padding id of -1 (Llama 1) or a default of a larger vocabulary can never occur.
TEST(Families, DropTokensOutsideTheVocabulary) {
  const ModelConfig config =
      parse("llama", R"({"bos_token_id":50,"pad_token_id":-1,"eos_token_id":[2,50,-3]})");
  EXPECT_FALSE(config.bos_token_id || config.pad_token_id);
  EXPECT_EQ(config.eos_token_ids, (std::vector<TokenId>{2}));
}

TEST(Families, LayersThatDiffer) {
  for (const char* name : {"llama", "mistral", "qwen2", "qwen3", "gpt2", "opt"}) {
    ModelConfig config = parse(name);
    EXPECT_FALSE(find_family(name, "x").to_json(config).contains("retort_layers")) << name;
    config.layers[1] = {2, 1, 5, 0};
    config.layers[0].sliding_window = 3;
    const Json json = find_family(name, "x").to_json(config);
    EXPECT_TRUE(json.contains("retort_layers")) << name;
    EXPECT_EQ(find_family(name, "x").parse(json, "config.json").layers, config.layers) << name;
  }
  EXPECT_THAT(refusal("llama", R"({"retort_layers":[{}]})"), HasSubstr("retort_layers: found 1 entries"));
  EXPECT_THAT(refusal("llama", R"({"retort_layers":[{},{},{}]})"),
              HasSubstr("retort_layers[0]: num_attention_heads: found nothing"));
  EXPECT_THAT(refusal("llama", R"({"retort_layers":[1,1,1]})"), HasSubstr("retort_layers[0]: found number"));
  EXPECT_THAT(refusal("llama", R"({"retort_layers":{}})"), HasSubstr("retort_layers: found object"));
}

TEST(Families, WriteTheRightKeysAfterAChange) {
  ModelConfig qwen =
      parse("qwen2", R"({"layer_types":["full_attention","full_attention","full_attention"]})");
  qwen.layers.resize(2);
  qwen.layers[1].sliding_window = 5;
  qwen.layers[1].intermediate_size = qwen.layers[0].intermediate_size = 20;
  const Json json = find_family("qwen2", "x").to_json(qwen);
  EXPECT_EQ(json["num_hidden_layers"], 2);
  EXPECT_EQ(json["intermediate_size"], 20);
  EXPECT_EQ(json["layer_types"], Json::parse(R"(["full_attention","sliding_attention"])"));
  EXPECT_EQ(json["max_window_layers"], 1);
  EXPECT_FALSE(json.contains("retort_layers"));

  ModelConfig llama = parse("llama");
  llama.activation = Activation::gelu_tanh;
  llama.layers.assign(3, {2, 2, 24, 0});  // head_dim stays 4, although 16 / 2 is 8
  const Json changed = find_family("llama", "x").to_json(llama);
  EXPECT_EQ(changed["hidden_act"], "gelu_new");
  EXPECT_EQ(changed["head_dim"], 4);
  EXPECT_EQ(changed["my_own_key"], Json::parse("[1]"));
  EXPECT_EQ(changed["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(changed["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(find_family("gpt2", "x").to_json(parse("gpt2"))["n_inner"], 64);
}

}  // namespace
}  // namespace retort
