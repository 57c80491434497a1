#include "architecture/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "architecture/gguf_names.h"
#include "architecture/i8_channel.h"
#include "architecture/importance.h"
#include "architecture/mixture.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
using testing::HasSubstr;

ModelConfig small_config(const std::string& model_type = "qwen3") {
  ModelConfig config;
  config.model_type = model_type;
  config.vocab_size = 40;
  config.hidden_size = 64;
  config.head_dim = 16;
  config.max_position_embeddings = 32;
  config.layers.assign(3, {.num_attention_heads = 4, .num_key_value_heads = 2, .intermediate_size = 96});
  config.qk_norm = model_type == "qwen3";
  config.attention_bias = model_type == "qwen2";
  config.tie_word_embeddings = true;
  return config;
}

// Values that say where they come from.
std::vector<float> values_of(const ParameterSpec& spec) {
  std::int64_t count = 1;
  for (const std::int64_t size : spec.shape) count *= size;
  std::vector<float> values(static_cast<std::size_t>(count));
  const auto seed = static_cast<float>(std::hash<std::string>()(spec.name) % 97);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(seed + 0.37f * static_cast<float>(i));
  return values;
}

class GgufModel : public testing::Test {
 protected:
  std::filesystem::path save(const ModelConfig& config, const char* encoding = "f32",
                             const std::function<void(GgufMetadata&)>& change = nullptr) {
    GgufMetadata metadata;
    add_config(metadata, config);
    if (change) change(metadata);
    SaveGgufOptions options;
    options.encoding = [&](const GgufParameter&) -> const Encoding& {
      return find_encoding(encoding, "test");
    };
    save_model_gguf(folder_ / "m.gguf", config, metadata, values_of, options);
    return folder_ / "m.gguf";
  }
  std::string refusal(const ModelConfig& config, const std::function<void(GgufMetadata&)>& change) {
    try {
      open_model_weights(save(config, "f32", change))->check();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  // The same file without the key that says it all.
  static void forget(GgufMetadata& metadata) { metadata.set_text("retort.config", "null"); }

  TemporaryFolder folder_;
};

TEST_F(GgufModel, ComesBackAsItWas) {
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3"}) {
    ModelConfig config = small_config(family);
    // Pruned.
    config.layers[1] = {.num_attention_heads = 2, .num_key_value_heads = 1, .intermediate_size = 32};
    config.eos_token_ids = {3, 5};
    config.bos_token_id = 1;
    const auto weights = open_model_weights(save(config));
    weights->check();
    EXPECT_EQ(weights->config().layers, config.layers);
    EXPECT_EQ(weights->config().eos_token_ids, config.eos_token_ids);
    EXPECT_EQ(weights->config().model_type, family);
    for (const ParameterSpec& spec : parameter_specs(config))
      EXPECT_EQ(weights->load(spec), values_of(spec)) << spec.name;
    const GgufFile file(folder_ / "m.gguf");
    const std::string prefix(architecture_of(family, "test").name);
    EXPECT_EQ(file.integers(prefix + ".attention.head_count"), (std::vector<std::int64_t>{4, 2, 4}));
    EXPECT_EQ(file.integers(prefix + ".feed_forward_length"), (std::vector<std::int64_t>{96, 32, 96}));
  }
}

TEST_F(GgufModel, EncodedRowsArePutInOrderWithoutDecoding) {
  const ModelConfig config = small_config("llama");
  const auto weights = open_model_weights(save(config, "q8_0"));
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const EncodedTensor tensor = weights->get(spec);
    EXPECT_EQ(tensor.shape, spec.shape);
    EXPECT_EQ(tensor.encoding->name, spec.shape.size() > 1 ? "q8_0" : "f32");
    EXPECT_EQ(tensor.bytes.size(), static_cast<std::size_t>(tensor.rows()) * tensor.row_bytes());
    EXPECT_EQ(tensor.owned != nullptr,
              spec.name.find("q_proj") != std::string::npos || spec.name.find("k_proj") != std::string::npos);
    const std::vector<float> expected = values_of(spec), found = weights->load(spec);
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], 0.01f) << spec.name;
  }
}

TEST_F(GgufModel, EveryFamilyHasAnArchitecture) {
  for (const Family* family : families()) {
    const GgufArchitecture& row = architecture_of(std::string(family->name), "test");
    EXPECT_FALSE(find_architecture(std::string(row.name), "test").name.empty());
  }
  EXPECT_THROW(find_architecture("gemma", "test"), Error);
}

TEST_F(GgufModel, MetadataThatDoesNotFitIsRefused) {
  const ModelConfig config = small_config("qwen2");
  const auto with_u32 = [&](const char* key, std::int64_t value) {
    return refusal(config, [&](GgufMetadata& metadata) {
      // Without Retort's own key the ordinary ones decide: they are put into a file of their own.
      GgufMetadata plain;
      plain.set_text("general.architecture", "qwen2");
      plain.set_u32("qwen2.context_length", 32);
      plain.set_u32("qwen2.embedding_length", 64);
      plain.set_u32("qwen2.block_count", 3);
      plain.set_u32("qwen2.feed_forward_length", 96);
      plain.set_u32("qwen2.attention.head_count", 4);
      plain.set_u32("qwen2.attention.head_count_kv", 2);
      plain.set_f32("qwen2.attention.layer_norm_rms_epsilon", 1e-6);
      if (key != nullptr) plain.set_u32(key, value);
      metadata = plain;
    });
  };
  EXPECT_EQ(with_u32(nullptr, 0), "accepted");
  EXPECT_THAT(with_u32("qwen2.block_count", 4'000'000'000), HasSubstr("1 … 1024"));
  EXPECT_THAT(with_u32("qwen2.block_count", 4), HasSubstr("blk.3"));
  EXPECT_THAT(with_u32("qwen2.block_count", 2), HasSubstr("blk.2"));
  EXPECT_NE(with_u32("qwen2.attention.head_count", 0), "accepted");
  EXPECT_NE(with_u32("qwen2.attention.head_count_kv", 3), "accepted");
  EXPECT_NE(with_u32("qwen2.attention.key_length", 8), "accepted");
  EXPECT_NE(with_u32("qwen2.embedding_length", 32), "accepted");
  EXPECT_NE(with_u32("qwen2.feed_forward_length", 4'000'000'000), "accepted");
  EXPECT_THAT(with_u32("qwen2.rope.dimension_count", 8), HasSubstr("whole heads"));
  EXPECT_THAT(
      refusal(config, [](GgufMetadata& metadata) { metadata.set_text("general.architecture", "qwen3"); }),
      HasSubstr("changed by hand"));
  EXPECT_NE(refusal(config, forget), "accepted");
  EXPECT_NE(refusal(config, [](GgufMetadata& metadata) { metadata.set_text("retort.config", "{"); }),
            "accepted");
}

TEST_F(GgufModel, BiasesInBlocksAreRefused) {
  const ModelConfig config = small_config("qwen2");
  const GgufFile whole(save(config));
  std::vector<TensorView> views = whole.tensors();
  const Encoding& q8 = find_encoding("q8_0", "test");
  const std::vector<std::byte> blocks(static_cast<std::size_t>(q8.byte_size(64)));
  for (TensorView& view : views)
    if (view.name == "blk.1.attn_q.bias") view = {view.name, DType::u8, view.shape, blocks, &q8};
  GgufMetadata metadata;
  add_config(metadata, config);
  write_gguf(folder_ / "blocks.gguf", metadata, views);
  const auto weights = open_model_weights(folder_ / "blocks.gguf");
  for (const auto& read : std::initializer_list<std::function<void()>>{
           [&] { weights->check(); },
           [&] {
             weights->load({"model.layers.1.self_attn.q_proj.bias", {64}});
           }}) {
    try {
      read();
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("blk.1.attn_q.bias q8_0"), HasSubstr("a bias")));
    }
  }
}

TEST_F(GgufModel, BytesOfAllShardsAreCounted) {
  const ModelConfig config = small_config();
  GgufMetadata metadata;
  add_config(metadata, config);
  SaveGgufOptions options;
  options.encoding = [](const GgufParameter&) -> const Encoding& { return find_encoding("f32", "test"); };
  options.file.max_shard_bytes = 60'000;
  save_model_gguf(folder_ / "s.gguf", config, metadata, values_of, options);
  std::filesystem::path first;
  std::uint64_t bytes = 0, files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    if (entry.path().string().find("-00001-of-") != std::string::npos) first = entry.path();
    bytes += entry.file_size();
    ++files;
  }
  ASSERT_GT(files, 1u);
  EXPECT_EQ(weight_bytes(first), bytes);
}

TEST_F(GgufModel, OpensFoldersToo) {
  const ModelConfig config = small_config();
  save_model_folder(folder_ / "hf", config, values_of, {.dtype = DType::bf16});
  const auto weights = open_model_weights(folder_ / "hf");
  const ParameterSpec spec = parameter_specs(config)[1];
  EXPECT_EQ(weights->get(spec).encoding->name, "bf16");
  EXPECT_EQ(weights->get(spec).owned, nullptr);
  EXPECT_EQ(weights->load(spec).size(), 64u);
}

TEST_F(GgufModel, I8ChannelKeepsHalfAStep) {
  const ModelConfig config = small_config();
  std::set<std::string> reported;
  save_i8_folder(folder_ / "i8", config, values_of,
                 {.activation_limit = 4,
                  .written = [&](const ParameterSpec& spec, auto, auto) { reported.insert(spec.name); }});
  const auto weights = open_model_weights(folder_ / "i8");
  weights->check();
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const EncodedTensor tensor = weights->get(spec);
    const std::vector<float> expected = values_of(spec), found = weights->load(spec);
    if (spec.shape.size() < 2) {
      EXPECT_EQ(found, expected);
      continue;
    }
    EXPECT_TRUE(reported.contains(spec.name));
    EXPECT_EQ(tensor.encoding, &kI8Channel);
    EXPECT_EQ(tensor.activation_limit, 4);
    ASSERT_EQ(tensor.row_scales.size(), static_cast<std::size_t>(spec.shape[0]));
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_LE(std::fabs(found[i] - expected[i]),
                0.501f * tensor.row_scales[i / static_cast<std::size_t>(spec.shape[1])])
          << spec.name;
  }
}

TEST(Mixture, EveryRowFitsEveryShape) {
  for (const Mixture& mixture : mixtures())
    for (const std::int64_t columns : {256, 896, 100}) {
      ModelConfig config = small_config();
      const GgufParameter stored{.name = "blk.0.attn_v.weight",
                                 .shape = {8, columns},
                                 .parts = {{"model.layers.0.self_attn.v_proj.weight", {8, columns}}}};
      EXPECT_EQ(columns % choose_encoding(mixture, config, stored).block_size, 0) << mixture.name;
    }
  EXPECT_THROW(find_mixture("q4_k_x", "test"), Error);
}

TEST(Mixture, EveryEncodingIsOne) {
  for (const Encoding* encoding : encodings()) {
    if (encoding->activations_only) continue;
    EXPECT_NO_THROW(find_mixture(encoding->name, "test"));
  }
}

TEST(OpenModelWeights, SaysWhatItOpens) {
  TemporaryFolder folder;
  write_file_atomically(folder / "notes.txt", "neither");
  try {
    open_model_weights(folder / "notes.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("a model folder, or a GGUF file"));
  }
}

TEST(Mixture, GivesMoreBitsToWhatLosesMost) {
  ModelConfig config = small_config();
  config.layers.assign(16, config.layers.front());
  const Mixture& mixture = find_mixture("q4_k_m", "test");
  const auto of = [&](const std::string& canonical) {
    const GgufParameter stored{.name = "x", .shape = {256, 256}, .parts = {{canonical, {256, 256}}}};
    return choose_encoding(mixture, config, stored).name;
  };
  EXPECT_EQ(of("model.embed_tokens.weight"), "q6_k");  // tied
  EXPECT_EQ(of("model.embed_positions.weight"), "f32");
  std::string more;
  for (int layer = 0; layer < 16; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    EXPECT_EQ(of(prefix + "self_attn.q_proj.weight"), "q4_k");
    EXPECT_EQ(of(prefix + "self_attn.v_proj.weight"), of(prefix + "mlp.down_proj.weight"));
    more += of(prefix + "mlp.down_proj.weight") == "q6_k" ? '1' : '0';
  }
  EXPECT_EQ(more, "1100100100100111");
  config.tie_word_embeddings = false;
  EXPECT_EQ(of("model.embed_tokens.weight"), "q4_k");
  EXPECT_EQ(of("lm_head.weight"), "q6_k");
}

TEST(Importance, IsFoundByEitherName) {
  TemporaryFolder folder;
  const std::vector<float> values = {1, 4, 9};
  const float count = 2;
  const std::vector<TensorView> matrix = {
      {"blk.0.attn_q.weight.in_sum2", DType::f32, {1, 3}, std::as_bytes(std::span(values))},
      {"blk.0.attn_q.weight.counts", DType::f32, {1, 1}, std::as_bytes(std::span(&count, 1))}};
  write_gguf(folder / "imatrix.gguf", {}, matrix);
  const std::vector<TensorView> plain = {
      {"model.layers.0.self_attn.q_proj.weight", DType::f32, {3}, std::as_bytes(std::span(values))}};
  write_safetensors(folder / "moments.safetensors", plain);
  const ModelConfig config = small_config();
  GgufParameter stored{.name = "blk.0.attn_q.weight",
                       .shape = {2, 3},
                       .parts = {{"model.layers.0.self_attn.q_proj.weight", {2, 3}}}};
  EXPECT_THAT(open_importance(folder / "imatrix.gguf")->of(stored, config),
              testing::ElementsAre(0.5f, 2.0f, 4.5f));
  const auto moments = open_importance(folder / "moments.safetensors");
  EXPECT_THAT(moments->of(stored, config), testing::ElementsAre(1.0f, 4.0f, 9.0f));
  stored.shape = {2, 4};
  EXPECT_THROW(moments->of(stored, config), Error);
  stored.parts[0].name = "model.layers.1.self_attn.q_proj.weight";
  stored.name = "blk.1.attn_q.weight";
  EXPECT_TRUE(moments->of(stored, config).empty());
}

}  // namespace
}  // namespace retort
