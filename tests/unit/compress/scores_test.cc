// Scores against their formulas in double precision, from what a model shows of itself by other ways.
#include "compress/shrink/scores.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "compress/shrink/layers.h"
#include "unit/compress/shrink_models.h"

namespace retort {
namespace {

Calibration some_calibration() {
  Calibration calibration;
  calibration.batches = {some_batch(), make_batch({random_tokens(12, 8), random_tokens(30, 9)})};
  for (const Batch& batch : calibration.batches) calibration.targets += batch.target_count();
  return calibration;
}

at::Tensor normed(const CausalLM& model, const at::Tensor& x, const std::string& name) {
  const at::Tensor weight = parameter(model, name + ".weight");
  if (model.config().normalization == Normalization::layer_norm)
    return at::layer_norm(x, x.size(1), weight, parameter(model, name + ".bias"), model.config().norm_eps);
  return x * (x.square().mean(1, true) + model.config().norm_eps).rsqrt() * weight;
}

at::Tensor linear(const CausalLM& model, const at::Tensor& x, const std::string& name, bool bias) {
  return at::linear(x, parameter(model, name + ".weight"),
                    bias ? std::optional(parameter(model, name + ".bias")) : std::nullopt);
}

// √Σ over sequences of (mean over tokens of |a|)².
struct Norms {
  std::map<std::string, at::Tensor> squares;
  void add(const std::string& key, const at::Tensor& a, const Batch& batch) {
    for (std::size_t s = 0; s + 1 < batch.sequence_starts.size(); ++s) {
      const at::Tensor mean =
          a.slice(0, batch.sequence_starts[s], batch.sequence_starts[s + 1]).abs().mean(0).square();
      squares[key] = squares[key].defined() ? squares[key] + mean : mean;
    }
  }
  void expect(const std::string& key, const std::vector<double>& scores) {
    const at::Tensor expected = squares.at(key).sqrt();
    ASSERT_EQ(expected.numel(), static_cast<std::int64_t>(scores.size())) << key;
    for (std::size_t i = 0; i < scores.size(); ++i)
      EXPECT_NEAR(scores[i], expected[static_cast<std::int64_t>(i)].item<double>(), 1e-5 * (1 + scores[i]))
          << key;
  }
};

void check_activations(const ModelConfig& config) {
  CausalLM model = drawn_model(config);
  const Calibration calibration = some_calibration();
  const UnitScores scores = score_by_activations(model, calibration);
  Norms norms;
  std::vector<double> unlike(config.layers.size());
  double tokens = 0;
  for (const Batch& batch : calibration.batches) {
    const ModelOutput output = model.forward(
        upload(batch, at::kCPU), {.hidden = {-1, 0, 1, 2}, .attention = {0, 1, 2}, .qkv = {0, 1, 2}});
    tokens += static_cast<double>(batch.size());
    norms.add("last", output.hidden, batch);
    for (int l = 0; l < 3; ++l) {
      const LayerConfig& layer = config.layers[static_cast<std::size_t>(l)];
      const std::string prefix = fmt::format("model.layers.{}.", l), name = std::to_string(l);
      const std::int64_t d = config.head_dim, q = layer.num_attention_heads, kv = layer.num_key_value_heads;
      const at::Tensor in = output.hidden_taps.at(l - 1), out = output.hidden_taps.at(l);
      const at::Tensor v = output.qkv_taps.at(l).narrow(1, (q + kv) * d, kv * d).view({-1, kv, d});
      std::vector<at::Tensor> heads;  // [n, q, d]
      for (std::size_t s = 0; s + 1 < batch.sequence_starts.size(); ++s)
        heads.push_back(at::matmul(output.attention_taps.at(l)[s].to(at::kDouble),
                                   v.slice(0, batch.sequence_starts[s], batch.sequence_starts[s + 1])
                                       .transpose(0, 1)
                                       .repeat_interleave(q / kv, 0))
                            .transpose(0, 1));
      const at::Tensor head_outputs = at::cat(heads);
      const at::Tensor between = in + linear(model, head_outputs.reshape({-1, q * d}),
                                             prefix + "self_attn.o_proj", config.attention_output_bias);
      const at::Tensor x = normed(model, between, prefix + "post_attention_layernorm");
      const at::Tensor up = linear(model, x, prefix + "mlp.up_proj", config.mlp_bias);
      const at::Tensor ffn = config.gated_mlp
                                 ? at::silu(linear(model, x, prefix + "mlp.gate_proj", config.mlp_bias)) * up
                                 : at::gelu(up, "tanh");
      norms.add("heads" + name, head_outputs.norm(2, {2}), batch);
      norms.add("ffn" + name, ffn, batch);
      norms.add("before" + name, normed(model, in, prefix + "input_layernorm"), batch);
      norms.add("between" + name, x, batch);
      unlike[static_cast<std::size_t>(l)] +=
          (1 - (in * out).sum(1) / in.norm(2, {1}) / out.norm(2, {1})).sum().item<double>();
    }
  }
  at::Tensor hidden = norms.squares.at("last").sqrt();
  for (int l = 0; l < 3; ++l) {
    const LayerScores& layer = scores.layers.at(static_cast<std::size_t>(l));
    const std::string name = std::to_string(l);
    norms.expect("heads" + name, layer.query_heads);
    norms.expect("ffn" + name, layer.ffn);
    EXPECT_NEAR(layer.influence, unlike[static_cast<std::size_t>(l)] / tokens, 1e-5);
    for (const char* norm : {"before", "between"}) hidden = hidden + norms.squares.at(norm + name).sqrt();
  }
  norms.squares["hidden"] = hidden.square();
  norms.expect("hidden", scores.hidden);
}

TEST(ActivationScores, AreThePapersFormulas) {
  for (const ModelConfig& config : {tiny_llama(), tiny_gpt2(), tiny_mixed()}) check_activations(config);
}

TEST(ActivationScores, LeaveTheModelAsItWas) {
  CausalLM model = drawn_model(tiny_llama());
  const at::Tensor before = last_hidden(model);
  score_by_activations(model, some_calibration());
  for (const Block& block : model.parts().blocks) {
    std::vector<at::Tensor> leaves;
    block.attention.qkv.append_leaves(leaves);
    EXPECT_EQ(leaves.size(), 3u);
  }
  EXPECT_TRUE(at::equal(last_hidden(model), before));
}

TEST(WeightScores, AreNormsOfWhatWritesAndWhatIsWritten) {
  const ModelConfig config = tiny_mixed();
  const CausalLM model = drawn_model(config);
  const UnitScores scores = score_by_weights(config, reader_of(model));
  const auto layer = [&](const char* name) {
    return parameter(model, std::string("model.layers.0.") + name + ".weight");
  };
  const std::int64_t d = config.head_dim;
  const double head = (layer("self_attn.o_proj").narrow(1, 3 * d, d).norm() *
                       layer("self_attn.v_proj").narrow(0, 1 * d, d).norm())
                          .item<double>();
  EXPECT_NEAR(scores.layers[0].query_heads[3], head, 1e-5 * head);
  const double channel =
      (layer("mlp.down_proj").select(1, 7).norm() * layer("mlp.up_proj").select(0, 7).norm()).item<double>();
  EXPECT_NEAR(scores.layers[0].ffn[7], channel, 1e-5 * channel);
  double squares = parameter(model, "model.embed_tokens.weight").select(1, 5).square().sum().item<double>();
  for (const Parameter& p : model.parameters())
    if (p.name.find("o_proj") != std::string::npos || p.name.find("down_proj") != std::string::npos)
      squares += p.tensor.select(0, 5).square().sum().item<double>();
  EXPECT_NEAR(scores.hidden[5], std::sqrt(squares), 1e-5 * std::sqrt(squares));
}

// A layer that adds next to nothing is the first to go, whoever chooses.
TEST(Layers, TheOneThatDoesNothingGoes) {
  CausalLM model = drawn_model(tiny_llama());
  for (const Parameter& p : model.parameters())
    if (p.name.find("layers.1.") != std::string::npos) p.tensor.mul_(1e-3);
  const Calibration calibration = some_calibration();
  EXPECT_EQ(influential_layers(score_by_activations(model, calibration), 2), (Indices{0, 2}));
}

TEST(Layers, SearchTakesTheCheapestEachTime) {
  CausalLM model = drawn_model(tiny_llama());
  const Calibration calibration = some_calibration();
  const double whole = nats_per_token(model, calibration);
  std::int64_t counted = 0, announced = 0;
  const Indices kept = search_layers(
      model, calibration, 2, [&](std::int64_t done, std::int64_t all) { counted = done, announced = all; });
  EXPECT_EQ(counted, 3);
  EXPECT_EQ(announced, 3);
  EXPECT_EQ(nats_per_token(model, calibration), whole);
  double best = 0;
  Indices best_kept;
  for (const Indices& tried : {Indices{0, 1}, Indices{0, 2}, Indices{1, 2}}) {
    const double nats = nats_per_token(cut_model(model, keep_layers(model.config(), tried)), calibration);
    if (best_kept.empty() || nats < best) best = nats, best_kept = tried;
  }
  EXPECT_EQ(kept, best_kept);
  EXPECT_EQ(search_layers(model, calibration, 1).size(), 1u);
}

}  // namespace
}  // namespace retort
