#include "model/blocks/norm.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

at::Tensor rms(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x * (x.pow(2).mean(-1, true) + eps).rsqrt() * weight;
}

class NormWidth : public testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Widths, NormWidth, testing::Values(1, 5, 16, 40, 512));

TEST_P(NormWidth, RmsWithBranchEqualsAten) {
  at::manual_seed(1);
  const Tensors inputs{at::randn({150, GetParam()}), at::randn({150, GetParam()}),
                       at::rand({GetParam()}) + 0.5};
  expect_same(
      [](const Tensors& t) {
        const Residual r = add_norm(t[0], t[1], {t[2], {}, 1e-5});
        return at::cat({r.sum, r.normed}, 1);
      },
      [](const Tensors& t) {
        return at::cat({t[0] + t[1], rms(t[0] + t[1], t[2], 1e-5)}, 1);
      },
      inputs, 2e-5);
}

TEST_P(NormWidth, LayerNormEqualsAten) {
  at::manual_seed(2);
  const std::int64_t width = GetParam();
  const Tensors inputs{at::randn({70, width}) + 3, at::rand({width}) + 0.5, at::randn({width})};
  expect_same(
      [](const Tensors& t) {
        return add_norm(t[0], {}, {t[1], t[2], 1e-5}).normed;
      },
      [&](const Tensors& t) { return at::layer_norm(t[0], {width}, t[1], t[2], 1e-5); }, inputs,
      width == 1 ? 1e-3 : 2e-5);
}

TEST(Norm, Bf16RoundsOnlyAtTheEnd) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({64, 512}).to(at::kBFloat16), weight = at::rand({512}).to(at::kBFloat16);
  const at::Tensor exact = rms(x.to(at::kFloat), weight.to(at::kFloat), 1e-6).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(add_norm(x, {}, {weight, {}, 1e-6}).normed, exact) ||
              largest_difference(add_norm(x, {}, {weight, {}, 1e-6}).normed, exact) < 0.02);
}

TEST(Norm, OnlyTheSumIsUsed) {
  const at::Tensor x = at::randn({4, 8}).requires_grad_(), y = at::randn({4, 8}).requires_grad_();
  const at::Tensor weight = at::ones({8}).requires_grad_();
  add_norm(x, y, {weight, {}, 1e-6}).sum.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::ones({4, 8})));
  EXPECT_TRUE(at::equal(y.grad(), at::ones({4, 8})));
}

TEST(HeadNorm, EqualsAten) {
  at::manual_seed(4);
  const HeadLayout layout{4, 2, 24};
  const Tensors inputs{at::randn({90, 8 * 24}), at::rand({24}) + 0.5, at::rand({24}) + 0.5};
  expect_same(
      [&](const Tensors& t) {
        return head_norm(t[0], layout, {t[1], {}, 1e-6}, {t[2], {}, 1e-6});
      },
      [&](const Tensors& t) {
        const at::Tensor heads = t[0].view({90, 8, 24});
        return at::cat({rms(heads.narrow(1, 0, 4), t[1], 1e-6), rms(heads.narrow(1, 4, 2), t[2], 1e-6),
                        heads.narrow(1, 6, 2)},
                       1)
            .view({90, -1});
      },
      inputs, 2e-5);
}

}  // namespace
}  // namespace retort
