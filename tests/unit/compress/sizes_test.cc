#include "compress/shrink/sizes.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compress/shrink/budget.h"
#include "unit/compress/shrink_models.h"

namespace retort {
namespace {

// 8 query heads in 4 groups.
ModelConfig grouped() {
  ModelConfig config = tiny_llama();
  config.layers.assign(1, {.num_attention_heads = 8, .num_key_value_heads = 4, .intermediate_size = 5});
  config.hidden_size = 4;
  return config;
}

UnitScores some_scores() {
  return {.layers = {{.query_heads = {9, 1, 2, 3, 0, 7, 8, 4}, .ffn = {3, 1, 4, 1, 5}}},
          .hidden = {2, 7, 1, 8}};
}

Cut cut_of(const ShrinkSizes& sizes) {
  Cut cut = keep_layers(grouped(), {0});
  cut_to_sizes(grouped(), sizes, some_scores(), cut);
  return cut;
}

TEST(Sizes, WholeGroupsGoWhereTheNumberOfHeadsAllows) {
  const LayerCut layer = cut_of({.heads = 4}).layers[0];  // the groups' scores: 10, 5, 7, 12
  EXPECT_EQ(layer.key_value_heads, (Indices{0, 3}));
  EXPECT_EQ(layer.query_heads, (Indices{0, 1, 6, 7}));
}

TEST(Sizes, OrAsManyHeadsOfEveryGroup) {
  const LayerCut layer = cut_of({.heads = 4, .key_value_heads = 4}).layers[0];
  EXPECT_EQ(layer.key_value_heads, (Indices{0, 1, 2, 3}));
  EXPECT_EQ(layer.query_heads, (Indices{0, 3, 5, 6}));
  const LayerCut both = cut_of({.heads = 3, .key_value_heads = 3}).layers[0];
  EXPECT_EQ(both.key_value_heads, (Indices{0, 2, 3}));
  EXPECT_EQ(both.query_heads, (Indices{0, 5, 6}));
  EXPECT_EQ(cut_of({.key_value_heads = 3}).layers[0].query_heads, (Indices{0, 1, 4, 5, 6, 7}));
}

TEST(Sizes, ChannelsOfTheHighestScoresStay) {
  const Cut cut = cut_of({.ffn = 4, .hidden = 2});
  EXPECT_EQ(cut.layers[0].ffn, (Indices{0, 1, 2, 4}));  // of equal scores the first
  EXPECT_EQ(cut.hidden, (Indices{1, 3}));
  EXPECT_EQ(cut.layers[0].query_heads.size(), 8u);
}

TEST(Sizes, RefusesWhatTheModelCannotGive) {
  for (const ShrinkSizes& sizes :
       {ShrinkSizes{.heads = 9}, ShrinkSizes{.heads = -1}, ShrinkSizes{.heads = 3},
        ShrinkSizes{.key_value_heads = 5}, ShrinkSizes{.heads = 5, .key_value_heads = 2},
        ShrinkSizes{.heads = 6, .key_value_heads = 2}, ShrinkSizes{.ffn = 6}, ShrinkSizes{.hidden = 5},
        ShrinkSizes{.ffn = -2}})
    EXPECT_THROW(cut_of(sizes), Error);
}

TEST(Budget, KeepsOneShareAndFillsTheFfn) {
  ModelConfig config = tiny_llama();
  config.layers.assign(8, {.num_attention_heads = 8, .num_key_value_heads = 4, .intermediate_size = 128});
  const std::int64_t whole = parameter_count(config);
  const Budget same = fit_budget(config, whole, 0);
  EXPECT_EQ(same.num_layers, 8);
  EXPECT_EQ(same.sizes, (ShrinkSizes{.heads = 8, .key_value_heads = 4, .ffn = 128}));
  const Budget half = fit_budget(config, whole / 2, 0);
  ModelConfig cut = config;
  cut.layers.assign(static_cast<std::size_t>(half.num_layers),
                    {.num_attention_heads = half.sizes.heads,
                     .num_key_value_heads = half.sizes.key_value_heads,
                     .intermediate_size = half.sizes.ffn});
  EXPECT_LE(parameter_count(cut), whole / 2);
  EXPECT_EQ(half.sizes.heads, 2 * half.sizes.key_value_heads);
  for (LayerConfig& layer : cut.layers) layer.intermediate_size += 8;
  EXPECT_GT(parameter_count(cut), whole / 2);  // nothing was left over
  EXPECT_EQ(half.num_layers, 5);
  EXPECT_EQ(half.sizes, (ShrinkSizes{.heads = 6, .key_value_heads = 3, .ffn = 96}));
  EXPECT_LT(fit_budget(config, whole / 4, 16).num_layers, 8);
}

TEST(Budget, RefusesLessThanTheSmallestModel) {
  EXPECT_THROW(fit_budget(tiny_llama(), 100, 0), Error);
  EXPECT_THROW(fit_budget(tiny_mixed(), 5000, 0), Error);
}

TEST(Budget, ReadsCounts) {
  EXPECT_EQ(parse_count("12M"), 12'000'000);
  EXPECT_EQ(parse_count("1.5B"), 1'500'000'000);
  EXPECT_EQ(parse_count("800k"), 800'000);
  EXPECT_EQ(parse_count("4242"), 4242);
  for (const char* text : {"", "M", "-3M", "12 M", "12MB", "nan", "1e40", "0"})
    EXPECT_THROW(parse_count(text), Error) << text;
}

}  // namespace
}  // namespace retort
