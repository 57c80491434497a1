// A cut equals the whole model with what was removed set to zero.
#include "compress/shrink/cut.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/error.h"
#include "unit/compress/shrink_models.h"
#include "unit/model/compare.h"

namespace retort {
namespace {

// fp32 holds the weights on their way, so draw them there.
CausalLM drawn(const ModelConfig& config) {
  CausalLM model = drawn_model(config);
  for (const Parameter& p : model.parameters()) p.tensor.copy_(p.tensor.to(at::kFloat));
  return model;
}

std::vector<ModelConfig> configs() { return {tiny_llama(), tiny_gpt2(), tiny_mixed()}; }

void zero_columns(const at::Tensor& weight, const Indices& kept, std::int64_t unit) {
  for (std::int64_t i = 0; i < weight.size(1) / unit; ++i)
    if (!contains(kept, i)) weight.narrow(1, i * unit, unit).zero_();
}

TEST(Cut, HeadsAndChannelsGoAsIfTheirOutputsWereZero) {
  for (const ModelConfig& config : configs()) {
    const CausalLM model = drawn(config);
    Cut cut = keep_layers(config, {0, 1, 2});
    for (LayerCut& layer : cut.layers) {
      const LayerConfig& shape = config.layers[static_cast<std::size_t>(layer.layer)];
      const bool grouped = shape.num_attention_heads == 4 && shape.num_key_value_heads == 2;
      // Layer 0: one query head of each group; layer 1: a whole group; the mixed model's small layer stays.
      if (grouped && layer.layer == 0)
        layer.query_heads = {1, 2};
      else if (grouped)
        layer.key_value_heads = {1}, layer.query_heads = {2, 3};
      else if (shape.num_key_value_heads == 4)
        layer.key_value_heads = layer.query_heads = {0, 3};
      layer.ffn = {0, 3, 5, 6, 17, 23};
    }
    const CausalLM smaller = cut_model(model, cut);
    for (const LayerCut& layer : cut.layers) {
      const std::string prefix = fmt::format("model.layers.{}.", layer.layer);
      zero_columns(parameter(model, prefix + "self_attn.o_proj.weight"), layer.query_heads, config.head_dim);
      zero_columns(parameter(model, prefix + "mlp.down_proj.weight"), layer.ffn, 1);
    }
    EXPECT_LT(parameter_count(smaller.config()), parameter_count(config));
    EXPECT_LE(largest_difference(last_hidden(smaller), last_hidden(model)), 1e-12) << config.model_type;
  }
}

TEST(Cut, LayersGoAsIfTheyAddedNothing) {
  for (const ModelConfig& config : configs()) {
    const CausalLM model = drawn(config);
    Cut cut = keep_layers(config, {0, 2});
    cut.branch_scale = 2;  // exact in fp32
    const CausalLM smaller = cut_model(model, cut);
    for (const Parameter& p : model.parameters())
      if (p.name.find("o_proj") != std::string::npos || p.name.find("down_proj") != std::string::npos)
        p.tensor.mul_(p.name.find("layers.1.") != std::string::npos ? 0 : 2);
    EXPECT_EQ(smaller.config().num_hidden_layers(), 2);
    EXPECT_LE(largest_difference(last_hidden(smaller), last_hidden(model)), 1e-12) << config.model_type;
  }
}

// Norms take their statistics from the channels that stay. Let those that go be copies of them, as often as
// one another, and read by nobody: then the whole model's norms have the same statistics.
TEST(Cut, ResidualChannelsGoEverywhere) {
  for (const ModelConfig& config : configs()) {
    const CausalLM model = drawn(config);
    Cut cut = keep_layers(config, {0, 1, 2});
    cut.hidden.clear();
    for (std::int64_t i = 0; i < config.hidden_size; i += 2) cut.hidden.push_back(i + i / 2 % 2);
    const auto duplicate = [&](const at::Tensor& weight, std::int64_t axis) {
      for (const std::int64_t kept : cut.hidden)
        weight.select(axis, kept ^ 1).copy_(weight.select(axis, kept));
    };
    for (const Parameter& p : model.parameters()) {
      const auto has = [&](const char* part) { return p.name.find(part) != std::string::npos; };
      if (has("embed_"))
        duplicate(p.tensor, 1);
      else if (has("o_proj") || has("down_proj"))
        duplicate(p.tensor, 0);
      else if (has("layernorm") || has("model.norm"))
        for (const std::int64_t kept : cut.hidden) p.tensor[kept ^ 1] = 0;
    }
    const CausalLM smaller = cut_model(model, cut);
    const at::Tensor whole = last_hidden(model).index_select(1, at::tensor(cut.hidden));
    EXPECT_EQ(smaller.config().hidden_size, config.hidden_size / 2);
    EXPECT_LE(largest_difference(last_hidden(smaller), whole), 1e-12) << config.model_type;
    EXPECT_TRUE(
        at::equal(smaller.head_weight(), model.head_weight().index_select(1, at::tensor(cut.hidden))));
  }
}

TEST(Cut, RefusesLayersThatAreNotThere) {
  const ModelConfig config = tiny_llama();
  for (const Indices& layers : {Indices{}, Indices{3}, Indices{-1, 0}, Indices{1, 1}, Indices{2, 0}})
    EXPECT_THROW(keep_layers(config, layers), Error);
}

}  // namespace
}  // namespace retort
