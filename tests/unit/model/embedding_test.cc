#include "model/blocks/embedding.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

TEST(Embedding, EqualsAten) {
  at::manual_seed(1);
  const at::Tensor ids = at::randint(0, 9, {200}, at::kLong);
  expect_same([&](const Tensors& t) { return embed(t[0], ids); },
              [&](const Tensors& t) { return at::embedding(t[0], ids); }, {at::randn({12, 21})}, 1e-5);
}

TEST(Embedding, Bf16GradientsAreSummedInFp32) {
  const at::Tensor ids = at::zeros({1000}, at::kLong);
  const at::Tensor weight = at::zeros({2, 3}, at::kBFloat16).requires_grad_();
  embed(weight, ids).sum().backward();
  EXPECT_EQ(weight.grad()[0][0].item<float>(), 1000);  // a sum in bf16 stops at 256
  EXPECT_EQ(weight.grad()[1][0].item<float>(), 0);
}

}  // namespace
}  // namespace retort
