#include "model/blocks/attention.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

struct Case {
  HeadLayout heads;
  std::int64_t window;
  std::vector<std::int64_t> lengths;
};

Packing pack(const std::vector<std::int64_t>& lengths) {
  Packing packing{{0}, {}, 0};
  for (const std::int64_t n : lengths) {
    packing.starts.push_back(packing.starts.back() + n);
    packing.max_length = std::max(packing.max_length, n);
  }
  return packing;
}

Rotation some_rotation(std::int64_t rows, std::int64_t head_dim) {
  return rotation_at(at::rand({head_dim / 2}), at::arange(rows) % 37);
}

class AttentionCase : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionCase,
                         testing::Values(Case{{4, 4, 64}, 0, {1, 40, 33, 2}}, Case{{8, 2, 16}, 0, {70, 5}},
                                         Case{{6, 3, 12}, 7, {50, 3, 32}}, Case{{2, 1, 80}, 33, {131, 1}},
                                         Case{{4, 2, 64}, 1, {20}}, Case{{3, 1, 6}, 100, {64, 65}}));

TEST_P(AttentionCase, KernelEqualsOpenAttention) {
  const auto& [heads, window, lengths] = GetParam();
  at::manual_seed(1);
  const Packing packing = pack(lengths);
  const std::int64_t rows = packing.starts.back();
  const Rotation rotation = some_rotation(rows, heads.head_dim);
  const AttentionLayer layer{0, heads, window};
  const PackedAttention packed(packing, rotation);
  const OpenAttention open(packing, rotation);
  const auto reference = [&](const Tensors& t) { return open.attend(t[0] * 1, layer); };
  const Tensors inputs{at::randn({rows, (heads.q_heads + 2 * heads.kv_heads) * heads.head_dim})};
  // The kernel rotates its input in place: leaves are given as fresh copies.
  const auto fast = [&](const Tensors& t) { return packed.attend(t[0] * 1, layer); };
  expect_same(fast, reference, inputs, 5e-6);

  const at::NoGradGuard no_grad;
  EXPECT_LE(largest_difference(fast(inputs), reference(inputs)), 1e-5);

  const at::Tensor half = inputs[0].to(at::kBFloat16);
  EXPECT_LE(largest_difference(fast({half}), reference({half.to(at::kFloat)})), 0.05);
}

TEST(Attention, DoublePrecisionTakesTheSequenceLoop) {
  at::manual_seed(2);
  const AttentionLayer layer{0, {4, 2, 16}, 5};
  const Packing packing = pack({9, 1, 30});
  const PackedAttention packed(packing, {});
  const at::Tensor qkv = at::randn({40, 8 * 16});
  const at::NoGradGuard no_grad;
  EXPECT_LE(largest_difference(packed.attend(qkv.to(at::kDouble), layer), packed.attend(qkv.clone(), layer)),
            1e-5);
}

TEST(Attention, MapsAreDistributionsOverThePast) {
  at::manual_seed(3);
  const OpenAttention open(pack({6, 4}), {});
  open.attend(at::randn({10, 4 * 8}), {0, {2, 1, 8}, 3});
  const std::vector<at::Tensor> maps = open.take_maps();
  ASSERT_EQ(maps.size(), 2);
  EXPECT_EQ(maps[0].sizes(), at::IntArrayRef({2, 6, 6}));
  EXPECT_LE(largest_difference(maps[0].sum(-1), at::ones({2, 6})), 1e-6);
  EXPECT_EQ(maps[0].triu(1).abs().max().item<float>(), 0);
  EXPECT_EQ(maps[0].tril(-3).abs().max().item<float>(), 0);
}

TEST(Rotary, InPlaceEqualsCopyAndInverseUndoesIt) {
  at::manual_seed(4);
  const HeadLayout heads{4, 2, 36};
  const Rotation rotation = some_rotation(21, 36);
  const at::Tensor x = at::randn({21, 8 * 36});
  at::Tensor y = x.clone();
  rotate_in_place(y, heads, rotation);
  EXPECT_LE(largest_difference(y, rotate(x, heads, rotation)), 1e-6);
  EXPECT_GT(largest_difference(y, x), 0.1);
  rotate_in_place(y, heads, rotation, /*inverse=*/true);
  EXPECT_LE(largest_difference(y, x), 1e-6);
}

}  // namespace
}  // namespace retort
