#include "model/blocks/dropout.h"

#include <ATen/Parallel.h>

#include "model/blocks/norm.h"
#include "unit/model/compare.h"

namespace retort {
namespace {

TEST(Dropout, DropsTheShareAndKeepsTheMean) {
  const at::Tensor x = at::ones({300, 200});
  const at::Tensor y = apply_dropout(x, {0.25, 11, 3});
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<float>(), 0.25, 0.01);
  EXPECT_NEAR(y.mean().item<float>(), 1, 0.01);
  EXPECT_FALSE(at::equal(y, apply_dropout(x, {0.25, 12, 3})));
  EXPECT_FALSE(at::equal(y, apply_dropout(x, {0.25, 11, 4})));
}

TEST(Dropout, ThreadsDoNotMatter) {
  const at::Tensor x = at::randn({301, 77});
  const int threads = at::get_num_threads();
  const at::Tensor many = apply_dropout(x, {0.5, 1, 2});
  at::set_num_threads(1);
  EXPECT_TRUE(at::equal(many, apply_dropout(x, {0.5, 1, 2})));
  at::set_num_threads(threads);
}

TEST(Dropout, BackwardUsesTheSameMask) {
  const at::Tensor x = at::ones({20, 70}).requires_grad_();
  const at::Tensor y = apply_dropout(x, {0.5, 5, 0});
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), y));
}

TEST(Dropout, InTheNormEqualsApartFromIt) {
  at::manual_seed(1);
  const Dropout dropout{0.3, 9, 4};
  const Tensors inputs{at::randn({80, 96}), at::randn({80, 96}), at::rand({96})};
  const auto both = [](const Residual& r) { return at::cat({r.sum, r.normed}, 1); };
  expect_same(
      [&](const Tensors& t) {
        return both(add_norm(t[0], t[1], {t[2], {}, 1e-6}, dropout));
      },
      [&](const Tensors& t) {
        return both(add_norm(t[0], apply_dropout(t[1], dropout), {t[2], {}, 1e-6}));
      },
      inputs, 1e-6);
}

TEST(Dropout, AtenMaskDependsOnKeyAndStream) {
  const at::Tensor x = at::ones({50, 50}, at::kDouble);
  const at::Tensor y = apply_dropout(x, {0.5, 5, 0});
  EXPECT_TRUE(at::equal(y, apply_dropout(x, {0.5, 5, 0})));
  EXPECT_FALSE(at::equal(y, apply_dropout(x, {0.5, 5, 1})));
  EXPECT_NEAR(y.mean().item<double>(), 1, 0.1);
}

}  // namespace
}  // namespace retort
