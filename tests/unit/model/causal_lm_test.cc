#include "model/causal_lm.h"

#include <ATen/Parallel.h>

#include "base/error.h"
#include "unit/model/compare.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

class Shape : public testing::TestWithParam<ModelConfig> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Shape, testing::Values(tiny_llama(), tiny_gpt2(), tiny_mixed()),
                         [](const auto& info) { return info.param.model_type; });

void expect_equal_bits(const Step& a, const Step& b) {
  EXPECT_TRUE(at::equal(a.loss, b.loss));
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (std::size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_TRUE(at::equal(a.gradients[i], b.gradients[i])) << i;
}

TEST_P(Shape, PackedSequencesDoNotSeeEachOther) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const std::vector<std::vector<TokenId>> sequences{random_tokens(17, 1), random_tokens(1, 2),
                                                    random_tokens(40, 3)};
  const Batch all = make_batch(sequences);
  const at::NoGradGuard no_grad;
  const at::Tensor packed = model.forward(upload(all, at::kCPU)).hidden;
  std::vector<at::Tensor> alone;
  for (const auto& tokens : sequences) {
    const Batch one = make_batch({tokens});
    alone.push_back(model.forward(upload(one, at::kCPU)).hidden);
  }
  EXPECT_LE(largest_difference(packed, at::cat(alone)), 1e-5);
}

TEST_P(Shape, CheckpointedGradientsAreEqualToTheBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const double dropout : {0.0, 0.2}) {
      CausalLM model(GetParam(), at::kCPU, dtype, 1);
      const ForwardOptions plain{.training = true, .dropout = dropout, .dropout_key = 5};
      ForwardOptions checkpointed = plain;
      checkpointed.checkpoint_activations = true;
      expect_equal_bits(run_step(model, plain), run_step(model, checkpointed));
    }
}

TEST_P(Shape, StepsRepeatToTheBit) {
  CausalLM model(GetParam(), at::kCPU, at::kBFloat16, 1);
  const ForwardOptions options{.training = true, .dropout = 0.1, .dropout_key = 3};
  expect_equal_bits(run_step(model, options), run_step(model, options));
}

TEST_P(Shape, EveryParameterHasAGradient) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const Step step = run_step(model, {});
  for (std::size_t i = 0; i < step.gradients.size(); ++i) {
    ASSERT_TRUE(step.gradients[i].defined()) << model.parameters()[i].name;
    if (model.parameters()[i].name.ends_with("k_proj.bias")) continue;  // softmax does not see it
    EXPECT_GT(step.gradients[i].abs().max().item<float>(), 1e-8) << model.parameters()[i].name;
  }
}

TEST_P(Shape, GradientIsTheSlopeOfTheLoss) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const Step step = run_step(model, {});
  // Along the gradient itself: loss(w + e g) - loss(w - e g) = 2 e |g|².
  const at::NoGradGuard no_grad;
  double square = 0;
  for (const at::Tensor& g : step.gradients) square += g.to(at::kDouble).pow(2).sum().item<double>();
  const double size = 0.004 / std::sqrt(square);
  const auto shifted = [&](double by) {
    for (std::size_t i = 0; i < step.gradients.size(); ++i)
      at::Tensor(model.parameters()[i].tensor).add_(step.gradients[i], by);
    return mean_cross_entropy(model, device_batch, model.forward(device_batch)).item<double>();
  };
  const double up = shifted(size), down = shifted(-2 * size);
  EXPECT_NEAR((up - down) / (2 * size * square), 1, 5e-3);
}

TEST_P(Shape, TapsAreTheStreamAndCostNoDifference) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const at::NoGradGuard no_grad;
  const ModelOutput plain = model.forward(device_batch),
                    tapped = model.forward(device_batch, {{-1, 0, 2}, {1}});
  EXPECT_LE(largest_difference(plain.hidden, tapped.hidden), 1e-5);
  ASSERT_EQ(tapped.hidden_taps.size(), 3);
  for (const auto& [layer, tensor] : tapped.hidden_taps) EXPECT_EQ(tensor.sizes(), plain.hidden.sizes());
  if (GetParam().position_encoding == PositionEncoding::rotary) {
    EXPECT_TRUE(at::equal(tapped.hidden_taps.at(-1),
                          model.parameters()[0].tensor.index_select(0, device_batch.tokens)));
  }
  const auto& maps = tapped.attention_taps.at(1);
  ASSERT_EQ(maps.size(), 4);
  EXPECT_EQ(maps[2].sizes(), at::IntArrayRef({GetParam().layers[1].num_attention_heads, 40, 40}));
}

TEST_P(Shape, TapsCarryGradients) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const Batch batch = some_batch();
  for (const bool checkpoint : {false, true}) {
    const ModelOutput output =
        model.forward(upload(batch, at::kCPU), {{0}, {1}}, {.checkpoint_activations = checkpoint});
    const at::Tensor q =
        model.parameters()[GetParam().position_encoding == PositionEncoding::learned ? 4 : 2].tensor;
    const at::Tensor loss =
        output.hidden_taps.at(0).pow(2).sum() + output.attention_taps.at(1)[0].pow(2).sum();
    EXPECT_GT(torch::autograd::grad({loss}, {q})[0].abs().max().item<float>(), 0);
  }
}

TEST_P(Shape, TargetsAloneHaveTheSameStatesAndGradients) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const Step all = run_step(model, {});
  for (const bool checkpoint : {false, true})
    for (const Taps& taps :
         {Taps{}, Taps{.hidden = {2}, .attention = {}}, Taps{.hidden = {1}, .attention = {2}}}) {
      const ForwardOptions options{.checkpoint_activations = checkpoint, .targets_only = true};
      const ModelOutput output = model.forward(device_batch, taps, options);
      EXPECT_EQ(output.hidden.size(0), device_batch.target_index.size(0));
      for (const auto& [layer, tensor] : output.hidden_taps)
        EXPECT_EQ(tensor.size(0), device_batch.tokens.size(0));
      EXPECT_LE(largest_difference(output.hidden, model.forward(device_batch).target_rows(device_batch)),
                1e-5);
      const Step some = run_step(model, options, taps);
      EXPECT_NEAR(some.loss.item<double>(), all.loss.item<double>(), 1e-5);
      for (std::size_t i = 0; i < all.gradients.size(); ++i)
        EXPECT_LE(largest_difference(some.gradients[i], all.gradients[i]), 1e-5)
            << model.parameters()[i].name;
    }
}

TEST_P(Shape, FrozenModelMakesNoGraph) {
  CausalLM model(GetParam(), at::kCPU, at::kFloat, 1);
  model.set_requires_grad(false);
  const Batch batch = some_batch();
  EXPECT_FALSE(model.forward(upload(batch, at::kCPU)).hidden.requires_grad());
}

TEST_P(Shape, HalfPrecisionIsNear) {
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const at::NoGradGuard no_grad;
  const at::Tensor exact = CausalLM(GetParam(), at::kCPU, at::kFloat, 1).forward(device_batch).hidden;
  for (const auto& [dtype, tolerance] : {std::pair(at::kBFloat16, 0.05), std::pair(at::kHalf, 0.01)}) {
    const at::Tensor half =
        CausalLM(GetParam(), at::kCPU, dtype, 1).forward(device_batch).hidden.to(at::kFloat);
    EXPECT_LE((half - exact).norm().item<double>() / exact.norm().item<double>(), tolerance);
  }
}

TEST(CausalLM, DropoutIsOffOutsideTraining) {
  CausalLM model(tiny_llama(), at::kCPU, at::kFloat, 1);
  const Batch batch = some_batch();
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const at::NoGradGuard no_grad;
  const at::Tensor plain = model.forward(device_batch).hidden;
  const auto with = [&](bool training, std::uint64_t key) {
    return model.forward(device_batch, {}, {.training = training, .dropout = 0.1, .dropout_key = key}).hidden;
  };
  EXPECT_TRUE(at::equal(plain, with(false, 1)));
  EXPECT_FALSE(at::equal(plain, with(true, 1)));
  EXPECT_TRUE(at::equal(with(true, 1), with(true, 1)));
  EXPECT_FALSE(at::equal(with(true, 2), with(true, 1)));
}

TEST(CausalLM, InitialWeightsDependOnSeedAndNameAlone) {
  const int threads = at::get_num_threads();
  CausalLM a(tiny_llama(), at::kCPU, at::kFloat, 1);
  at::set_num_threads(1);
  CausalLM b(tiny_llama(), at::kCPU, at::kFloat, 1), c(tiny_llama(), at::kCPU, at::kFloat, 2);
  at::set_num_threads(threads);
  for (std::size_t i = 0; i < a.parameters().size(); ++i) {
    const auto& [name, tensor] = a.parameters()[i];
    EXPECT_TRUE(at::equal(tensor, b.parameters()[i].tensor)) << name;
    EXPECT_EQ(at::equal(tensor, c.parameters()[i].tensor), tensor.dim() == 1) << name;
  }
  const at::Tensor embedding = a.parameters()[0].tensor;
  EXPECT_NEAR(embedding.std().item<double>(), 0.3, 0.02);
  EXPECT_NEAR(embedding.mean().item<double>(), 0, 0.03);
  EXPECT_FALSE(at::equal(a.parameters()[1].tensor, a.parameters()[2].tensor));
}

TEST(CausalLM, WrongInputsAreErrors) {
  CausalLM model(tiny_gpt2(), at::kCPU, at::kFloat, 1);
  const auto forward = [&](const Batch& batch, const Taps& taps = {}) {
    model.forward(upload(batch, at::kCPU), taps);
  };
  EXPECT_THROW(forward(make_batch({{1, 67}})), Error);
  EXPECT_THROW(forward(make_batch({{-1}})), Error);
  EXPECT_THROW(forward(make_batch({})), Error);
  EXPECT_THROW(forward(make_batch({random_tokens(97, 1)})), Error);
  EXPECT_THROW(forward(some_batch(), {{3}, {}}), Error);
  EXPECT_THROW(forward(some_batch(), {{}, {-1}}), Error);
}

TEST(Taps, MergeKeepsEachLayerOnce) {
  Taps taps{{2, 0}, {}};
  taps.merge({{0, 1}, {3}});
  EXPECT_EQ(taps.hidden, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(taps.attention, std::vector<int>{3});
}

}  // namespace
}  // namespace retort
