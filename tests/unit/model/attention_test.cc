#include "model/blocks/attention.h"

#include <cmath>

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

// Attention and the gradient of Σ output · grad by their formulas in double, and the largest error that bf16
// leaves: half a unit of 8 bits (2^-8 relative) for every probability or gradient of a score that is rounded
// before its product, the same for the result, and what fp32 sums add.
struct Bounded {
  at::Tensor value, terms;  // terms: the same sums over absolute values
  void add(const at::Tensor& left, const at::Tensor& right) {
    value += at::mm(left, right);
    terms += at::mm(left.abs(), right.abs());
  }
  void expect(const at::Tensor& got, const char* what) const {
    const at::Tensor bound = (terms + value.abs()) * (1.01 / 256) + 1e-4;
    EXPECT_TRUE(((got.to(at::kDouble) - value).abs() <= bound).all().item<bool>())
        << what << " differs by up to " << largest_difference(got, value);
  }
};
struct ExactAttention {
  Bounded output, grad_qkv;
};

ExactAttention exact_attention(const at::Tensor& qkv, const at::Tensor& grad, const Case& c) {
  const auto& [q_heads, kv_heads, d] = c.heads;
  const auto zeros = [](const at::Tensor& like) {
    return Bounded{at::zeros_like(like), at::zeros_like(like)};
  };
  ExactAttention exact{zeros(grad), zeros(qkv)};
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  std::int64_t start = 0;
  for (const std::int64_t n : c.lengths) {
    const auto part = [&](const at::Tensor& x, std::int64_t head) {
      return x.narrow(0, start, n).narrow(1, head * d, d);
    };
    const auto sums = [&](const Bounded& x, std::int64_t head) {
      return Bounded{part(x.value, head), part(x.terms, head)};
    };
    at::Tensor visible = at::ones({n, n}, at::kBool).tril();
    if (c.window > 0) visible = visible.triu(1 - c.window);
    for (std::int64_t h = 0; h < q_heads; ++h) {
      const std::int64_t k_head = q_heads + h / (q_heads / kv_heads), v_head = k_head + kv_heads;
      const at::Tensor q = part(qkv, h), k = part(qkv, k_head), v = part(qkv, v_head), g = part(grad, h);
      const at::Tensor scores = at::mm(q, k.t()) * scale;
      const at::Tensor p = at::softmax(scores.masked_fill(visible.logical_not(), -1e300), -1);
      const at::Tensor grad_p = at::mm(g, v.t());
      const at::Tensor grad_scores = p * (grad_p - (p * grad_p).sum(-1, true)) * scale;
      sums(exact.output, h).add(p, v);
      sums(exact.grad_qkv, h).add(grad_scores, k);
      sums(exact.grad_qkv, k_head).add(grad_scores.t(), q);
      sums(exact.grad_qkv, v_head).add(p.t(), g);
    }
    start += n;
  }
  return exact;
}

// Whole blocks of queries and tiles, lengths and head_dims that end inside one, odd ones, groups, windows.
class AttentionInBf16 : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionInBf16,
                         testing::Values(Case{{2, 2, 64}, 0, {128, 32}}, Case{{4, 2, 64}, 0, {1, 97, 30, 2}},
                                         Case{{4, 1, 64}, 40, {257, 31, 7}}, Case{{6, 3, 12}, 7, {50, 3, 32}},
                                         Case{{2, 1, 80}, 33, {131, 1}}, Case{{3, 1, 128}, 0, {75}},
                                         Case{{4, 2, 34}, 1, {20, 65}}, Case{{2, 1, 5}, 9, {37, 16}}));

TEST_P(AttentionInBf16, ErrorIsThatOfItsRounding) {
  const Case& c = GetParam();
  at::manual_seed(5);
  const Packing packing = pack(c.lengths);
  const std::int64_t rows = packing.starts.back(), d = c.heads.head_dim;
  const at::Tensor qkv = at::randn({rows, (c.heads.q_heads + 2 * c.heads.kv_heads) * d}).to(at::kBFloat16),
                   grad = at::randn({rows, c.heads.q_heads * d}).to(at::kBFloat16);
  const ExactAttention exact = exact_attention(qkv.to(at::kDouble), grad.to(at::kDouble), c);
  const auto run = [&] {
    const at::Tensor leaf = qkv.clone().requires_grad_();
    const at::Tensor output = PackedAttention(packing, {}).attend(leaf, {0, c.heads, c.window});
    return Tensors{output.detach(), torch::autograd::grad({output}, {leaf}, {grad})[0]};
  };
  const Tensors got = run();
  exact.output.expect(got[0], "output");
  exact.grad_qkv.expect(got[1], "gradient");

  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Tensors alone = run();
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(got[0], alone[0]) && at::equal(got[1], alone[1])) << "threads change bits";
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
