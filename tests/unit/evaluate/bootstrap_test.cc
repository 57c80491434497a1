#include "evaluate/metrics/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace retort {
namespace {

TEST(Bootstrap, IntervalOfAMeanIsItsStandardErrorTimesTwo) {
  Random random(1);
  std::vector<double> values(2000);
  for (double& v : values) v = 3 + random.normal();
  const Interval interval = bootstrap(2000, [&](std::span<const std::int32_t> indices) {
    double sum = 0;
    for (const std::int32_t i : indices) sum += values[static_cast<std::size_t>(i)];
    return sum / 2000;
  });
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 2000,
               error = 1 / std::sqrt(2000.0);
  EXPECT_NEAR(interval.mean, mean, 0.1 * error);
  EXPECT_NEAR(interval.low, mean - 1.96 * error, 0.25 * error);
  EXPECT_NEAR(interval.high, mean + 1.96 * error, 0.25 * error);
  EXPECT_TRUE(interval.excludes_zero());
}

TEST(Bootstrap, DrawsTheSameSentencesEachTime) {
  std::vector<std::vector<std::int32_t>> first, second;
  bootstrap(
      50, [&](std::span<const std::int32_t> i) { return first.emplace_back(i.begin(), i.end())[0]; }, 20);
  bootstrap(
      50, [&](std::span<const std::int32_t> i) { return second.emplace_back(i.begin(), i.end())[0]; }, 20);
  EXPECT_EQ(first, second);
  EXPECT_NE(first[0], first[1]);
  for (const std::int32_t index : first[0]) EXPECT_TRUE(index >= 0 && index < 50);
}

TEST(Bootstrap, NothingGivesZeros) {
  const Interval interval = bootstrap(0, [](std::span<const std::int32_t>) { return 1.0; });
  EXPECT_EQ(interval.mean, 0);
  EXPECT_FALSE(interval.excludes_zero());
}

}  // namespace
}  // namespace retort
