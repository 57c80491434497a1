#include "model/blocks/linear.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

TEST(Linear, GroupEqualsItsParts) {
  at::manual_seed(1);
  Linear group({6, 2, 2}, 5, /*bias=*/true, at::kFloat);
  Tensors leaves;
  group.append_leaves(leaves);
  ASSERT_EQ(leaves.size(), 6);
  for (const at::Tensor& leaf : leaves) {
    leaf.normal_();
    leaf.set_requires_grad(true);
  }
  const at::Tensor x = at::randn({7, 5}).requires_grad_();
  const auto parts = [&] {
    Tensors out;
    for (int i = 0; i < 3; ++i) out.push_back(at::linear(x, leaves[i], leaves[3 + i]));
    return at::cat(out, 1);
  };
  EXPECT_LE(largest_difference(group(x), parts()), 1e-6);
  Tensors inputs = leaves;
  inputs.push_back(x);
  const at::Tensor direction = at::randn({7, 10});
  const Tensors a = torch::autograd::grad({group(x)}, inputs, {direction});
  const Tensors b = torch::autograd::grad({parts()}, inputs, {direction});
  for (std::size_t i = 0; i < inputs.size(); ++i) EXPECT_LE(largest_difference(a[i], b[i]), 1e-5) << i;
}

TEST(Linear, LeafUpdatesReachTheProduct) {
  Linear group({2, 3}, 4, /*bias=*/false, at::kFloat);
  group.weight(0).fill_(1);
  group.weight(1).fill_(2);
  group.weight(1).set_requires_grad(true);
  {
    const at::NoGradGuard no_grad;
    group.weight(1).mul_(2);
  }
  const at::NoGradGuard no_grad;
  EXPECT_EQ(group(at::ones({1, 4}))[0][4].item<float>(), 16);
}

TEST(Linear, FrozenWeightsPassTheGradientOn) {
  Linear group({2}, 4, /*bias=*/false, at::kFloat);
  group.weight(0).fill_(3);
  const at::Tensor x = at::ones({1, 4}).requires_grad_();
  group(x).sum().backward();
  EXPECT_EQ(x.grad()[0][0].item<float>(), 6);
  EXPECT_FALSE(group.weight(0).grad().defined());
}

}  // namespace
}  // namespace retort
