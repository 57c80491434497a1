#include "objective/fused/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace retort {
namespace {

std::vector<float> random_row(std::size_t size, float scale, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> row(size);
  for (float& value : row) value = normal(engine);
  return row;
}

double exact_log_sum_exp(const std::vector<float>& z, double inverse) {
  double max = -INFINITY, sum = 0;
  for (const float value : z) max = std::max(max, value * inverse);
  for (const float value : z) sum += std::exp(value * inverse - max);
  return max + std::log(sum);
}

class RowKernelsTest : public testing::TestWithParam<const RowKernels*> {};

TEST_P(RowKernelsTest, AgreesWithFp64ForEveryLengthAndSpread) {
  for (const std::size_t size : {1, 2, 7, 16, 31, 64, 1000, 2047, 2048, 2049, 9001})
    for (const float spread : {0.01f, 1.0f, 10.0f, 100.0f})
      for (const double tau : {0.5, 1.0, 4.0}) {
        SCOPED_TRACE(testing::Message() << "size " << size << " spread " << spread << " tau " << tau);
        const std::vector<float> s = random_row(size, spread, 1), t = random_row(size, spread, 2);
        const float inverse = static_cast<float>(1 / tau);
        const double lse_s = exact_log_sum_exp(s, inverse), lse_t = exact_log_sum_exp(t, inverse);
        const float got_s = GetParam()->log_sum_exp(s.data(), s.size(), inverse);
        const float got_t = GetParam()->log_sum_exp(t.data(), t.size(), inverse);
        EXPECT_NEAR(got_s, lse_s, 3e-7 * std::max(1.0, std::abs(lse_s)));
        EXPECT_NEAR(got_t, lse_t, 3e-7 * std::max(1.0, std::abs(lse_t)));

        // The shifted logits carry the rounding of numbers as large as the logits.
        const double slack =
            2e-6 + 3e-7 * std::abs(s[0] * inverse) + 3e-7 * std::max(std::abs(lse_s), std::abs(lse_t));
        std::vector<float> gradient(size, 0.25f), softmax(size, 0.25f);
        const KlRow row{s.data(), t.data(), static_cast<std::int64_t>(size), inverse, got_s, got_t};
        const float kl = GetParam()->forward_kl(row, 0.5f, gradient.data());
        EXPECT_EQ(GetParam()->forward_kl(row, 0.5f, nullptr), kl);
        GetParam()->add_softmax(s.data(), s.size(), static_cast<float>(exact_log_sum_exp(s, 1)), 2.0f,
                                softmax.data());
        double exact = 0;
        const double lse_1 = exact_log_sum_exp(s, 1);
        for (std::size_t i = 0; i < size; ++i) {
          const double log_s = s[i] * static_cast<double>(inverse) - lse_s,
                       log_t = t[i] * static_cast<double>(inverse) - lse_t;
          exact += std::exp(log_t) * (log_t - log_s);
          ASSERT_NEAR(gradient[i], 0.25 + 0.5 * (std::exp(log_s) - std::exp(log_t)), slack + 1e-6) << i;
          ASSERT_NEAR(softmax[i], 0.25 + 2 * std::exp(s[i] - lse_1), 2 * slack + 1e-6 + 2e-5 * (spread > 50))
              << i;
        }
        for (const auto& [mixture, teacher_share, student_share] :
             {std::tuple{1.0f, 0.0f, 1.0f}, {0.3f, 0.3f, 0.7f}, {0.1f, 1.0f, 0.0f}, {0.9f, 0.0f, 1.0f}}) {
          SCOPED_TRACE(testing::Message() << "mixture " << mixture);
          const bool reverse = mixture == 1;
          std::vector<float> slope(size, 0.25f);
          const MixtureRow mixed{row, mixture, teacher_share, student_share};
          const auto run = [&](float* out) {
            return reverse ? GetParam()->reverse_kl(row, 0.5f, out) : GetParam()->mixture(mixed, 0.5f, out);
          };
          const float value = run(slope.data());
          EXPECT_EQ(run(nullptr), value);
          std::vector<double> p(size), g(size);
          double sum = 0, mean = 0;
          for (std::size_t i = 0; i < size; ++i) {
            const double log_s = s[i] * static_cast<double>(inverse) - lse_s,
                         log_t = t[i] * static_cast<double>(inverse) - lse_t;
            p[i] = std::exp(log_s);
            const double w = mixture, larger = std::max(log_s, log_t);
            const double log_m =
                reverse
                    ? log_t
                    : larger + std::log(w * std::exp(log_t - larger) + (1 - w) * std::exp(log_s - larger));
            sum += teacher_share * std::exp(log_t) * (log_t - log_m) + student_share * p[i] * (log_s - log_m);
            g[i] = student_share * (log_s - log_m);
            if (!reverse)
              g[i] -= (1 - w) *
                      (teacher_share * std::exp(log_t - log_m) + student_share * std::exp(log_s - log_m));
            mean += p[i] * g[i];
          }
          const double large = std::max(1.0, std::abs(mean));
          EXPECT_NEAR(
              value, sum,
              (4e-6 + 2.4e-7 * std::max(std::abs(lse_s), std::abs(lse_t))) * std::max(1.0, std::abs(sum)) +
                  slack);
          for (std::size_t i = 0; i < size; ++i)
            ASSERT_NEAR(slope[i], 0.25 + 0.5 * p[i] * (g[i] - mean), large * (slack + 2e-6)) << i;
        }
        // Rounding log Σ exp to fp32 scales all probabilities.
        EXPECT_NEAR(kl, exact, (3e-6 + 1.2e-7 * std::abs(lse_t)) * std::max(1.0, std::abs(exact)) + slack);
      }
}

TEST_P(RowKernelsTest, KlOfEqualRowsIsExactlyZero) {
  const std::vector<float> z = random_row(5000, 8, 3);
  const float lse = GetParam()->log_sum_exp(z.data(), z.size(), 0.5f);
  std::vector<float> gradient(z.size(), 0);
  EXPECT_EQ(GetParam()->forward_kl({z.data(), z.data(), 5000, 0.5f, lse, lse}, 3, gradient.data()), 0);
  EXPECT_EQ(GetParam()->reverse_kl({z.data(), z.data(), 5000, 0.5f, lse, lse}, 3, gradient.data()), 0);
  for (const float w : {0.01f, 0.1f, 0.3f, 0.5f, 0.7f, 0.99f})
    EXPECT_EQ(
        GetParam()->mixture({{z.data(), z.data(), 5000, 0.5f, lse, lse}, w, 0.4f, 0.6f}, 3, gradient.data()),
        0);
  for (const float value : gradient) ASSERT_EQ(value, 0);
}

TEST_P(RowKernelsTest, NotANumberStaysVisible) {
  std::vector<float> z = random_row(3000, 1, 4);
  z[2500] = NAN;
  EXPECT_TRUE(std::isnan(GetParam()->log_sum_exp(z.data(), z.size(), 1)));
  z[2500] = INFINITY;
  const float lse = GetParam()->log_sum_exp(z.data(), z.size(), 1);
  EXPECT_FALSE(std::isfinite(lse));
  std::vector<float> gradient(z.size(), 0);
  GetParam()->add_softmax(z.data(), z.size(), NAN, 1, gradient.data());
  EXPECT_TRUE(std::isnan(gradient[0]));
}

INSTANTIATE_TEST_SUITE_P(Sets, RowKernelsTest, testing::ValuesIn(supported_row_kernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace retort
