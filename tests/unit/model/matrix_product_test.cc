#include "model/kernels/matrix_product.h"

#include "unit/model/compare.h"

namespace retort {
namespace {

at::Tensor random_bf16(std::int64_t rows, std::int64_t columns, bool transposed) {
  const at::Tensor x = transposed ? at::randn({columns, rows}).t() : at::randn({rows, columns});
  return x.to(at::kBFloat16);
}

// bf16 rounds once: half a unit of its 8 bits, and the fp32 sums' own error.
void expect_rounded(const at::Tensor& got, const at::Tensor& exact) {
  const at::Tensor bound = exact.abs() * (1.0 / 256) + 1e-4;
  EXPECT_TRUE(((got.to(at::kDouble) - exact).abs() <= bound).all().item<bool>())
      << largest_difference(got.to(at::kDouble), exact);
}

TEST(MatrixProduct, EqualsDoublesForEveryLayoutAndOddSizes) {
  at::manual_seed(1);
  struct Sizes {
    std::int64_t m, n, k;
  };
  // Whole tiles; rows, columns and depths that end inside one; more depth than one pass; too small for tiles.
  for (const auto& [m, n, k] : std::vector<Sizes>{{96, 128, 64},
                                                  {97, 65, 34},
                                                  {203, 200, 96},
                                                  {130, 77, 2050},
                                                  {64, 96, 4128},
                                                  {5, 64, 32},
                                                  {70, 66, 7}})
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true}) {
        SCOPED_TRACE(testing::Message() << m << " " << n << " " << k << " " << a_transposed << b_transposed);
        const at::Tensor a = random_bf16(m, k, a_transposed), b = random_bf16(k, n, b_transposed),
                         bias = at::randn({n}).to(at::kBFloat16);
        const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
        // fp32 sums of k terms, in any order.
        const at::Tensor sums_error = 4e-7 * at::mm(a.to(at::kDouble).abs(), b.to(at::kDouble).abs()) + 1e-6;
        expect_rounded(matrix_product(a, b), exact);
        expect_rounded(matrix_product(a, b, bias), exact + bias.to(at::kDouble));
        const at::Tensor wide = at::zeros({m, n + 3}, at::kBFloat16);
        matrix_product_out(wide.narrow(1, 0, n), a, b);
        expect_rounded(wide.narrow(1, 0, n), exact);
        EXPECT_EQ(wide.narrow(1, n, 3).abs().max().item<float>(), 0) << "written past the matrix";
        const at::Tensor sum = at::ones({m, n});
        if (add_matrix_product(a, b, sum))
          EXPECT_TRUE(((sum.to(at::kDouble) - exact - 1).abs() <= sums_error).all().item<bool>());
        else
          EXPECT_EQ(largest_difference(sum, at::ones({m, n})), 0);
      }
}

TEST(MatrixProduct, RowsOfAWiderMatrix) {
  at::manual_seed(2);
  const at::Tensor wide = random_bf16(100, 160, false);
  const at::Tensor part = wide.narrow(1, 32, 96), b = random_bf16(96, 70, false);
  expect_rounded(matrix_product(part, b), at::mm(part.to(at::kDouble), b.to(at::kDouble)));
  const at::Tensor c = random_bf16(100, 64, false);
  expect_rounded(matrix_product(part.t(), c), at::mm(part.t().to(at::kDouble), c.to(at::kDouble)));
}

TEST(MatrixProduct, ThreadsDoNotChangeBits) {
  at::manual_seed(3);
  const at::Tensor a = random_bf16(301, 256, false), b = random_bf16(256, 190, true);
  const int threads = at::get_num_threads();
  const at::Tensor many = matrix_product(a, b);
  at::set_num_threads(1);
  const at::Tensor one = matrix_product(a, b);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(many, one));
}

}  // namespace
}  // namespace retort
