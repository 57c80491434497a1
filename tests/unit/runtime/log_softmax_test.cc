#include "runtime/log_softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "runtime/kernels/vector_ops.h"

namespace retort {
namespace {

TEST(LogSoftmax, AgreesWithDoublePrecision) {
  for (const std::size_t size : {1, 2, 15, 16, 17, 1000, 151937}) {
    for (const double scale : {0.0, 0.3, 4.0, 60.0}) {
      Random random(size);
      std::vector<float> logits(size);
      for (float& logit : logits) logit = static_cast<float>(scale * random.normal());
      const RowMaximum best = row_maximum(logits);
      double maximum = logits[0], sum = 0, expected = 0;
      for (const float logit : logits) maximum = std::max<double>(maximum, logit);
      for (const float logit : logits) sum += std::exp(logit - maximum);
      const double lse = maximum + std::log(sum);
      for (const float logit : logits) expected -= std::exp(logit - lse) * (logit - lse);
      EXPECT_EQ(best.value, static_cast<float>(maximum));
      EXPECT_EQ(logits[static_cast<std::size_t>(best.index)], best.value);
      const float found = log_sum_exp(logits);
      EXPECT_NEAR(found, lse, 1e-6 + 1e-7 * std::abs(lse)) << size << " × " << scale;
      EXPECT_NEAR(entropy(logits, found), expected, 3e-5) << size << " × " << scale;
    }
  }
}

TEST(LogSoftmax, MaximumIsTheFirstOfEqualsAndNoNaN) {
  std::vector<float> logits(40, 1.0f);
  logits[3] = NAN;
  logits[7] = logits[21] = logits[39] = 2;
  EXPECT_EQ(row_maximum(logits).index, 7);
  const std::vector<float> nothing(20, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(row_maximum(nothing).index, -1);
}

TEST(LogSoftmax, ForbiddenTokensHaveNoMass) {
  const std::vector<float> logits = {0, -std::numeric_limits<float>::infinity(), 0};
  EXPECT_NEAR(log_sum_exp(logits), std::log(2), 1e-6);
  EXPECT_NEAR(entropy(logits, std::log(2.0f)), std::log(2), 1e-6);
}

}  // namespace
}  // namespace retort
