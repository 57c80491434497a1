#include "architecture/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <list>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "formats/safetensors.h"
#include "support/temporary_folder.h"
#include "unit/architecture/example_configs.h"

namespace retort {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

// Values that say where they belong.
std::vector<float> example_values(const ParameterSpec& spec) {
  std::int64_t count = 1;
  for (const std::int64_t size : spec.shape) count *= size;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(hash64(spec.name, i) % 255) / 128;  // exact in bf16
  return values;
}

class ModelFolderTest : public testing::TestWithParam<const char*> {
 protected:
  fs::path save(const std::string& model_type, const SaveModelOptions& options = {},
                const std::string& changes = "{}") {
    Json json = example_config(model_type);
    json.update(Json::parse(changes));
    const ModelConfig config = find_family(model_type, "x").parse(json, "x");
    save_model_folder(folder_ / "model", config, example_values, options);
    return folder_ / "model";
  }
  // Writes the folder's weights again, changed.
  void rewrite(const std::function<void(std::vector<TensorView>&)>& change) {
    const auto source = open_safetensors(folder_ / "model");
    std::vector<TensorView> tensors = source->tensors();
    change(tensors);
    write_safetensors(folder_ / "model/model.safetensors", tensors);
  }
  std::string refusal() {
    try {
      ModelFolder(folder_ / "model").check_weights();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_P(ModelFolderTest, LoadsWhatItSaved) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const std::uint64_t shard : {0, 3000}) {
      const fs::path path = save(GetParam(), {.dtype = dtype, .max_shard_bytes = shard});
      const ModelFolder model(path);
      ASSERT_TRUE(model.has_weights());
      EXPECT_NO_THROW(model.check_weights());
      for (const ParameterSpec& spec : parameter_specs(model.config()))
        ASSERT_EQ(model.load(spec), example_values(spec)) << spec.name;
    }
}

TEST_P(ModelFolderTest, LoadsLayersThatDiffer) {
  ModelConfig config = find_family(GetParam(), "x").parse(example_config(GetParam()), "x");
  config.layers[1] = {2, 2, 5, 0};
  save_model_folder(folder_ / "model", config, example_values, {});
  const ModelFolder model(folder_ / "model");
  model.check_weights();
  for (const ParameterSpec& spec : parameter_specs(config)) ASSERT_EQ(model.load(spec), example_values(spec));
}

TEST_P(ModelFolderTest, AcceptsFilesSavedWithoutTheHead) {
  save(GetParam(), {}, R"({"tie_word_embeddings":true})");
  const std::string_view prefix = find_family(GetParam(), "x").base_prefix;
  rewrite([&](std::vector<TensorView>& tensors) {
    for (TensorView& tensor : tensors) {
      ASSERT_TRUE(tensor.name.starts_with(prefix));
      tensor.name.erase(0, prefix.size());
    }
  });
  const ModelFolder model(folder_ / "model");
  model.check_weights();
  for (const ParameterSpec& spec : parameter_specs(model.config()))
    ASSERT_EQ(model.load(spec), example_values(spec));
}

INSTANTIATE_TEST_SUITE_P(Families, ModelFolderTest,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "gpt2", "opt"),
                         [](const auto& info) { return std::string(info.param); });

using ModelFolderCheck = ModelFolderTest;

TEST_F(ModelFolderCheck, NamesMissingUnknownAndMisshapen) {
  save("llama");
  rewrite([](auto& tensors) { tensors.erase(tensors.begin() + 4); });
  EXPECT_THAT(refusal(), HasSubstr("no tensor 'model.layers.0.self_attn.v_proj.weight'"));
  save("llama");
  rewrite([](auto& tensors) {
    TensorView extra = tensors[2];
    extra.name = "model.layers.0.self_attn.q_proj.bias";
    tensors.push_back(extra);
  });
  EXPECT_THAT(refusal(), HasSubstr("found the tensor model.layers.0.self_attn.q_proj.bias BF16 [16, 16]"));
  save("llama");
  rewrite([](auto& tensors) { std::swap(tensors[3].name, tensors[2].name); });
  EXPECT_THAT(refusal(), HasSubstr("expected model.layers.0.self_attn.q_proj.weight BF16 [16, 16]"));
  const std::vector<std::int16_t> whole(50 * 16);
  save("llama");
  rewrite([&](auto& tensors) {
    tensors[0].dtype = DType::i16;
    tensors[0].bytes = std::as_bytes(std::span(whole));
  });
  EXPECT_THAT(refusal(), HasSubstr("expected floating-point values"));
}

TEST_F(ModelFolderCheck, IgnoresMasksAndRotaryBuffers) {
  save("gpt2");
  rewrite([](auto& tensors) {
    TensorView mask = tensors[0];
    mask.name = "transformer.h.0.attn.bias";
    tensors.push_back(mask);
  });
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(ModelFolderCheck, TiedHeadMustEqualTheEmbedding) {
  save("qwen2");
  rewrite([](auto& tensors) {
    TensorView head = tensors[0];
    head.name = "lm_head.weight";
    tensors.push_back(head);
  });
  EXPECT_EQ(refusal(), "accepted");
  std::vector<std::byte> other(50 * 16 * 2);
  rewrite([&](auto& tensors) { tensors.back().bytes = other; });
  EXPECT_THAT(refusal(), HasSubstr("Set tie_word_embeddings to false"));
}

TEST_F(ModelFolderCheck, GenerationConfigsEndTokensWin) {
  const fs::path path = save("llama");
  write_json(path / "generation_config.json", {{"eos_token_id", {7, 8}}, {"temperature", 0.6}});
  EXPECT_EQ(ModelFolder(path).config().eos_token_ids, (std::vector<TokenId>{7, 8}));
  write_json(path / "generation_config.json", {{"temperature", 0.6}});
  EXPECT_EQ(ModelFolder(path).config().eos_token_ids, (std::vector<TokenId>{2, 3}));
  write_json(path / "generation_config.json", {{"eos_token_id", "x"}});
  EXPECT_THROW(ModelFolder{path}, Error);
}

TEST_F(ModelFolderCheck, CopiesTokenizerAndGenerationSettings) {
  const fs::path from = folder_ / "from";
  for (const char* name : {"tokenizer.json", "chat_template.jinja", "merges.txt", "weights.bin"})
    write_file_atomically(from / name, name);
  write_json(from / "generation_config.json", {{"top_p", 0.9}, {"eos_token_id", 9}});
  const fs::path path = save("llama", {.tokenizer_from = from});
  EXPECT_EQ(read_file(path / "chat_template.jinja"), "chat_template.jinja");
  EXPECT_TRUE(fs::exists(path / "tokenizer.json") && fs::exists(path / "merges.txt"));
  EXPECT_FALSE(fs::exists(path / "weights.bin"));
  const Json generation = read_json(path / "generation_config.json");
  EXPECT_EQ(generation["top_p"], 0.9);
  // The config's, which came from the model being saved.
  EXPECT_EQ(generation["eos_token_id"], Json::parse("[2,3]"));
  EXPECT_NO_THROW(copy_tokenizer_files(path, path));
}

TEST_F(ModelFolderCheck, WritesTheDtypeOnce) {
  const fs::path path = save("llama", {.dtype = DType::f32}, R"({"dtype":"float16"})");
  const Json json = read_json(path / "config.json");
  EXPECT_EQ(json["torch_dtype"], "float32");
  EXPECT_FALSE(json.contains("dtype"));
  EXPECT_EQ(json["my_own_key"], Json::parse("[1]"));
  EXPECT_THROW(save("llama", {.dtype = DType::i8}), Error);
}

TEST_F(ModelFolderCheck, HalfPrecisionOverflowIsAnError) {
  const ModelConfig config = find_family("llama", "x").parse(example_config("llama"), "x");
  const auto large = [](const ParameterSpec& spec) {
    return std::vector<float>(example_values(spec).size(), 70000.0f);
  };
  EXPECT_THROW(save_model_folder(folder_ / "model", config, large, {.dtype = DType::f16}), Error);
  EXPECT_NO_THROW(save_model_folder(folder_ / "model", config, large, {.dtype = DType::bf16}));
  const auto short_one = [](const ParameterSpec&) { return std::vector<float>(1); };
  EXPECT_THROW(save_model_folder(folder_ / "model", config, short_one, {}), Error);
}

TEST_F(ModelFolderCheck, MissingParts) {
  const auto message = [&](const fs::path& path) {
    try {
      ModelFolder model(path);
      EXPECT_FALSE(model.has_weights());
      model.weights();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message(folder_ / "none"), HasSubstr("no such folder"));
  EXPECT_THAT(message(folder_.path()), HasSubstr("config.json: found no such file"));
  write_file_atomically(folder_ / "config.json", "{}");
  EXPECT_THAT(message(folder_.path()), HasSubstr("model_type: found nothing"));
  write_file_atomically(folder_ / "config.json", "[]");
  EXPECT_THAT(message(folder_.path()), HasSubstr("model_type: found nothing"));
  write_json(folder_ / "config.json", example_config("llama"));
  EXPECT_THAT(message(folder_.path()), HasSubstr("no weights"));
  write_file_atomically(folder_ / "pytorch_model.bin", "");
  EXPECT_THAT(message(folder_.path()), HasSubstr("save_pretrained"));
}

}  // namespace
}  // namespace retort
