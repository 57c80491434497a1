#include "training/schedule.h"

#include <gtest/gtest.h>

namespace retort {
namespace {

// Values by hand: warm-up 4 of 12 steps to 1, then down to 0.2.
TEST(RateSchedule, EqualsAHandWrittenTable) {
  RateSchedule rate{.kind = "linear", .peak = 1, .minimum = 0.2, .warmup_steps = 4, .total_steps = 12};
  const double linear[] = {0.2, 0.4, 0.6, 0.8, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3};
  for (int step = 0; step < 12; ++step) EXPECT_NEAR(rate.at(step), linear[step], 1e-12) << step;
  rate.kind = "cosine";
  const double cosine[] = {0.2,
                           0.4,
                           0.6,
                           0.8,
                           1.0,
                           0.969551813005,
                           0.882842712475,
                           0.753073372946,
                           0.6,
                           0.446926627054,
                           0.317157287525,
                           0.230448186995};
  for (int step = 0; step < 12; ++step) EXPECT_NEAR(rate.at(step), cosine[step], 1e-9) << step;
  rate.kind = "constant";
  for (int step = 4; step < 12; ++step) EXPECT_EQ(rate.at(step), 1);
}

// 3e-5 to 1e-6 along a cosine after a warm-up of 10 % of 100 steps.
TEST(RateSchedule, FineTuningsOwn) {
  const RateSchedule rate{
      .kind = "cosine", .peak = 3e-5, .minimum = 1e-6, .warmup_steps = 10, .total_steps = 100};
  for (const auto& [step, value] : {std::pair{0, 3e-5 / 11},
                                    {4, 3e-5 * 5 / 11},
                                    {10, 3e-5},
                                    {40, 2.275e-5},
                                    {55, 1.55e-5},
                                    {70, 8.25e-6},
                                    {100, 1e-6}})
    EXPECT_NEAR(rate.at(step), value, 1e-12) << step;
}

}  // namespace
}  // namespace retort
