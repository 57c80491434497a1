#include "training/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"

namespace retort {
namespace {

const AdamWOptions kOptions{.beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-4, .weight_decay = 0.3, .clip = 0.5};

// The formula (Loshchilov & Hutter 2019, algorithm 2) in double precision, with clipping of the global norm
// first.
struct Reference {
  std::vector<std::vector<double>> value, average, square;
  std::vector<bool> decays;
  int steps = 0;

  void step(double rate, std::vector<std::vector<double>> gradient) {
    double norm = 0;
    for (const auto& g : gradient)
      for (const double x : g) norm += x * x;
    norm = std::sqrt(norm);
    const double factor = std::min(1.0, kOptions.clip / (norm + 1e-6));
    ++steps;
    for (std::size_t p = 0; p < value.size(); ++p)
      for (std::size_t i = 0; i < value[p].size(); ++i) {
        const double g = gradient[p][i] * factor;
        double& m = average[p][i];
        double& v = square[p][i];
        m = kOptions.beta1 * m + (1 - kOptions.beta1) * g;
        v = kOptions.beta2 * v + (1 - kOptions.beta2) * g * g;
        const double m_hat = m / (1 - std::pow(kOptions.beta1, steps));
        const double v_hat = v / (1 - std::pow(kOptions.beta2, steps));
        if (decays[p]) value[p][i] -= rate * kOptions.weight_decay * value[p][i];
        value[p][i] -= rate * m_hat / (std::sqrt(v_hat) + kOptions.epsilon);
      }
  }
};

std::vector<double> to_doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.detach().to(at::kDouble).flatten().contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

// A matrix, which decays, and a norm's weight, which does not.
std::vector<Parameter> parameters(at::ScalarType dtype) {
  at::manual_seed(3);
  std::vector<Parameter> all = {{"matrix", at::randn({5, 7}).to(dtype)}, {"norm", at::randn({7}).to(dtype)}};
  for (Parameter& p : all) p.tensor.requires_grad_();
  return all;
}

Reference reference_of(const std::vector<Parameter>& all) {
  Reference reference;
  for (const Parameter& p : all) {
    reference.value.push_back(to_doubles(p.tensor));
    reference.average.emplace_back(reference.value.back().size(), 0.0);
    reference.square.emplace_back(reference.value.back().size(), 0.0);
    reference.decays.push_back(p.tensor.dim() >= 2);
  }
  return reference;
}

void set_gradients(const std::vector<Parameter>& all, double scale) {
  for (const Parameter& p : all)
    at::Tensor(p.tensor).mutable_grad() = (at::randn(p.tensor.sizes()) * scale).to(p.tensor.scalar_type());
}

double largest_difference(const at::Tensor& tensor, const std::vector<double>& expected) {
  const std::vector<double> found = to_doubles(tensor);
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
  return worst;
}

at::Tensor number(double value) { return at::full({}, value, at::kFloat); }

TEST(AdamW, EqualsTheFormulaWithDecayGroupsClippingAndAccumulation) {
  const std::vector<Parameter> all = parameters(at::kFloat);
  Reference reference = reference_of(all);
  AdamW optimizer(all, kOptions);
  for (int step = 0; step < 6; ++step) {
    std::vector<std::vector<double>> sum;
    for (const auto& value : reference.value) sum.emplace_back(value.size(), 0.0);
    for (int micro = 0; micro < 3; ++micro) {
      set_gradients(all, step < 3 ? 4.0 : 0.05);  // the first steps are clipped, the last are not
      for (std::size_t p = 0; p < all.size(); ++p) {
        const std::vector<double> part = to_doubles(all[p].tensor.grad());
        for (std::size_t i = 0; i < part.size(); ++i) sum[p][i] += part[i] / 12;
      }
      optimizer.accumulate();
      for (const Parameter& p : all) EXPECT_FALSE(p.tensor.grad().defined());
    }
    const double norm = optimizer.step(0.02 * (step + 1), number(12)).item<double>();
    double expected_norm = 0;
    for (const auto& g : sum)
      for (const double x : g) expected_norm += x * x;
    EXPECT_NEAR(norm, std::sqrt(expected_norm), 1e-5 * norm);
    EXPECT_EQ(norm > kOptions.clip, step < 3);
    reference.step(0.02 * (step + 1), sum);
    for (std::size_t p = 0; p < all.size(); ++p)
      EXPECT_LT(largest_difference(all[p].tensor, reference.value[p]), 2e-6)
          << "step " << step << ", " << all[p].name;
  }
}

TEST(AdamW, GivesRatesOfTheirOwn) {
  const std::vector<Parameter> all = parameters(at::kFloat);
  Reference slow = reference_of(all), plain = reference_of(all);
  AdamWOptions with = kOptions;
  with.rates = {{"matr*", 0.25}, {"matrix", 3}};  // the first that matches counts
  AdamW optimizer(all, with);
  for (int step = 0; step < 3; ++step) {
    set_gradients(all, 0.5);
    std::vector<std::vector<double>> gradient;
    for (const Parameter& p : all) gradient.push_back(to_doubles(p.tensor.grad()));
    optimizer.accumulate();
    optimizer.step(0.1, number(1));
    slow.step(0.1 * 0.25, gradient);
    plain.step(0.1, gradient);
  }
  EXPECT_LT(largest_difference(all[0].tensor, slow.value[0]), 2e-6);
  EXPECT_LT(largest_difference(all[1].tensor, plain.value[1]), 2e-6);
  with.rates = {{"lora_B", 16}};
  EXPECT_THROW(AdamW(all, with), Error);
}

TEST(AdamW, ChangesNothingWhenAGradientIsNotFiniteAndThenGoesOn) {
  const std::vector<Parameter> all = parameters(at::kFloat);
  Reference reference = reference_of(all);
  AdamW optimizer(all, kOptions);
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    set_gradients(all, 1);
    at::Tensor(all[0].tensor).mutable_grad()[2][3] = bad;
    optimizer.accumulate();
    optimizer.step(0.1, number(1));
    EXPECT_EQ(optimizer.skipped().item<float>(), 1);
    for (std::size_t p = 0; p < all.size(); ++p)
      EXPECT_EQ(largest_difference(all[p].tensor, reference.value[p]), 0);
  }
  set_gradients(all, 0.1);
  std::vector<std::vector<double>> gradient;
  for (const Parameter& p : all) gradient.push_back(to_doubles(p.tensor.grad()));
  optimizer.accumulate();
  optimizer.step(0.1, number(1));
  EXPECT_EQ(optimizer.skipped().item<float>(), 0);
  reference.step(0.1, gradient);  // its bias correction is that of a first step
  for (std::size_t p = 0; p < all.size(); ++p)
    EXPECT_LT(largest_difference(all[p].tensor, reference.value[p]), 1e-6);
}

TEST(AdamW, KeepsMastersThatASmallUpdateOfABf16ModelWouldLose) {
  const std::vector<Parameter> all = parameters(at::kBFloat16);
  const at::Tensor before = all[0].tensor.detach().clone();
  AdamW optimizer(all, {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0, .clip = 0});
  const double rate = 1e-5;  // far below bf16's spacing of numbers near 1
  for (int step = 0; step < 200; ++step) {
    for (const Parameter& p : all) at::Tensor(p.tensor).mutable_grad() = at::ones_like(p.tensor);
    optimizer.accumulate();
    optimizer.step(rate, number(1));
  }
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : optimizer.state()) state[name] = tensor;
  const at::Tensor moved = before.to(at::kFloat) - state.at("master.matrix");
  // Each update may round by half of fp32's spacing below 4, 1.2e-7.
  EXPECT_LT((moved - 200 * rate).abs().max().item<double>(), 200 * 1.2e-7);
  EXPECT_TRUE(at::equal(all[0].tensor.detach(), state.at("master.matrix").to(at::kBFloat16)));
}

TEST(AdamW, GoesOnFromItsStateToTheSameBits) {
  const std::vector<Parameter> all = parameters(at::kBFloat16), others = parameters(at::kBFloat16);
  AdamW first(all, kOptions), second(others, kOptions);
  const auto train = [](AdamW& optimizer, const std::vector<Parameter>& of, int seed) {
    at::manual_seed(seed);
    set_gradients(of, 1);
    optimizer.accumulate();
    optimizer.step(0.05, number(1));
  };
  for (int step = 0; step < 3; ++step) train(first, all, step);
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : first.state()) state[name] = tensor.clone();
  second.restore([&](const std::string& name) { return state.at(name); });
  for (int step = 3; step < 6; ++step) train(first, all, step), train(second, others, step);
  for (std::size_t p = 0; p < all.size(); ++p) EXPECT_TRUE(at::equal(all[p].tensor, others[p].tensor));
}

TEST(AdamW, RefusesTheStateOfAnotherModel) {
  const std::vector<Parameter> all = parameters(at::kFloat);
  AdamW optimizer(all, kOptions);
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : optimizer.state()) state[name] = tensor;
  state["exp_avg." + all[0].name] = at::ones({1});  // would broadcast
  EXPECT_THROW(optimizer.restore([&](const std::string& name) { return state.at(name); }), Error);
}

}  // namespace
}  // namespace retort
