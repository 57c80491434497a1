#include "model/blocks/mlp.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

at::Tensor reference(const at::Tensor& x, ActivationKind kind) {
  switch (kind) {
    case ActivationKind::silu:
      return at::silu(x);
    case ActivationKind::gelu:
      return at::gelu(x);
    case ActivationKind::gelu_tanh:
      return at::gelu(x, "tanh");
    default:
      return at::relu(x);
  }
}

class Kind : public testing::TestWithParam<ActivationKind> {};
INSTANTIATE_TEST_SUITE_P(All, Kind,
                         testing::Values(ActivationKind::silu, ActivationKind::gelu,
                                         ActivationKind::gelu_tanh, ActivationKind::relu));

TEST_P(Kind, EqualsAten) {
  at::manual_seed(1);
  const ActivationKind kind = GetParam();
  for (const std::int64_t width : {3, 16, 50}) {
    const at::Tensor x = at::randn({30, 2 * width}) * 4;
    expect_same([&](const Tensors& t) { return activate(t[0], kind, true); },
                [&](const Tensors& t) {
                  return reference(t[0].narrow(1, 0, width), kind) * t[0].narrow(1, width, width);
                },
                {x}, 2e-6);
    expect_same([&](const Tensors& t) { return activate(t[0], kind, false); },
                [&](const Tensors& t) { return reference(t[0], kind); }, {x}, 2e-6);
  }
}

TEST_P(Kind, LargeValuesStayFinite) {
  const at::Tensor x = at::tensor({-1e30f, -200.f, -90.f, 90.f, 200.f, 1e18f}).view({1, 6});
  EXPECT_TRUE(activate(x, GetParam(), false).isfinite().all().item<bool>());
  EXPECT_LE(largest_difference(activate(x, GetParam(), false), at::relu(x)), 1e-6);
}

}  // namespace
}  // namespace retort
