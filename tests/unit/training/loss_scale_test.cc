#include "training/loss_scale.h"

#include <gtest/gtest.h>

namespace retort {
namespace {

double value(const LossScale& scale) { return scale.scale().item<double>(); }

TEST(LossScale, HalvesOnOverflowAndDoublesAfterTwoThousandCleanSteps) {
  const at::Tensor clean = at::zeros({}), overflow = at::ones({});
  LossScale scale(true, at::kCPU);
  EXPECT_EQ(value(scale), 65536);
  scale.update(overflow);
  EXPECT_EQ(value(scale), 32768);
  for (int step = 0; step < 1999; ++step) scale.update(clean);
  EXPECT_EQ(value(scale), 32768);
  LossScale restored(true, at::kCPU);  // the clean steps are part of its state
  restored.restore(scale.state());
  for (LossScale* each : {&scale, &restored}) {
    each->update(clean);
    EXPECT_EQ(value(*each), 65536);
    each->update(clean);
    EXPECT_EQ(value(*each), 65536);
  }
  for (int step = 0; step < 40; ++step) scale.update(overflow);
  EXPECT_EQ(value(scale), 1);
}

TEST(LossScale, IsOneForGoodWhenOff) {
  LossScale scale(false, at::kCPU);
  scale.update(at::ones({}));
  EXPECT_EQ(value(scale), 1);
}

}  // namespace
}  // namespace retort
