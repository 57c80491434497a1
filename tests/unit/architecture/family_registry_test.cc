// The contract of a row in the registry of families.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "architecture/canonical_name.h"
#include "architecture/family.h"
#include "unit/architecture/example_configs.h"

namespace retort {
namespace {
namespace fs = std::filesystem;

class FamilyContract : public testing::TestWithParam<const Family*> {};

TEST_P(FamilyContract, ParsesItsOwnJson) {
  const Family& family = *GetParam();
  const ModelConfig config = family.parse(example_config(std::string(family.name)), "config.json");
  EXPECT_EQ(config.model_type, family.name);
  const Json json = family.to_json(config);
  const ModelConfig again = family.parse(json, "config.json");
  EXPECT_EQ(family.to_json(again), json);
  EXPECT_EQ(again.layers, config.layers);
  EXPECT_EQ(again.head_dim, config.head_dim);
  EXPECT_EQ(again.norm_eps, config.norm_eps);
  EXPECT_EQ(again.activation, config.activation);
  EXPECT_EQ(again.tie_word_embeddings, config.tie_word_embeddings);
  EXPECT_EQ(again.eos_token_ids, config.eos_token_ids);
  EXPECT_EQ(again.rope_theta, config.rope_theta);
  EXPECT_EQ(again.rope_scaling.type, config.rope_scaling.type);
  EXPECT_EQ(rope_frequencies(again), rope_frequencies(config));
  EXPECT_TRUE(json.contains("architectures"));
}

// Two parameters share a stored tensor only as separate rows of it.
TEST_P(FamilyContract, EveryParameterHasAPlaceOfItsOwn) {
  const Family& family = *GetParam();
  for (const bool tied : {false, true}) {
    ModelConfig config = family.parse(example_config(std::string(family.name)), "config.json");
    config.tie_word_embeddings = tied;
    std::set<std::string> canonical;
    std::map<std::string, std::map<std::int64_t, std::int64_t>> rows;  // begin → end
    std::map<std::string, std::int64_t> totals;
    for (const ParameterSpec& spec : parameter_specs(config)) {
      EXPECT_TRUE(canonical.insert(spec.name).second) << spec.name;
      const StoredTensor stored = family.stored(config, spec.name);
      EXPECT_FALSE(family.ignorable(stored.name)) << stored.name;
      const std::int64_t total = stored.total_rows > 0 ? stored.total_rows : spec.shape[0];
      EXPECT_EQ(totals.emplace(stored.name, total).first->second, total) << stored.name;
      EXPECT_GE(stored.row_begin, 0);
      EXPECT_LE(stored.row_begin + spec.shape[0], total) << spec.name;
      EXPECT_TRUE(rows[stored.name].emplace(stored.row_begin, stored.row_begin + spec.shape[0]).second)
          << spec.name;
      EXPECT_TRUE(!stored.transposed || spec.shape.size() == 2) << spec.name;
    }
    for (const auto& [name, ranges] : rows) {
      std::int64_t end = 0;
      for (const auto& [begin, stop] : ranges) {
        EXPECT_GE(begin, end) << name;
        end = stop;
      }
    }
  }
}

TEST_P(FamilyContract, BasePrefixIsThatOfTheEmbedding) {
  const Family& family = *GetParam();
  const ModelConfig config = family.parse(example_config(std::string(family.name)), "config.json");
  EXPECT_TRUE(family.stored(config, "model.embed_tokens.weight").name.starts_with(family.base_prefix));
  EXPECT_FALSE(family.base_prefix.empty());
}

INSTANTIATE_TEST_SUITE_P(All, FamilyContract, testing::ValuesIn(families().begin(), families().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(FamilyRegistry, EveryFileHasARow) {
  std::set<std::string> rows, files;
  for (const Family* family : families())
    EXPECT_TRUE(rows.insert(std::string(family->name)).second) << family->name;
  for (const auto& entry : fs::directory_iterator(fs::path(RETORT_SOURCE_DIR) / "src/architecture/families"))
    if (entry.path().extension() == ".cc") files.insert(entry.path().stem().string());
  EXPECT_EQ(rows, files);
}

TEST(CanonicalName, TakesNamesApart) {
  const CanonicalName inner = split_name("model.layers.12.self_attn.q_proj.bias");
  EXPECT_EQ(inner.layer, 12);
  EXPECT_EQ(inner.module, "self_attn.q_proj");
  EXPECT_EQ(inner.kind, "bias");
  const CanonicalName outer = split_name("model.norm.weight");
  EXPECT_EQ(outer.layer, -1);
  EXPECT_EQ(outer.module, "model.norm");
}

}  // namespace
}  // namespace retort
