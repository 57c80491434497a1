// Grants AMX to the kernels where amx_model.h stands in for its instructions; kernel_product_test.cc then
// tests that set like the others.
#include <gtest/gtest.h>

#include "runtime/kernels/amx_bf16.h"
#include "runtime/kernels/kernel_set.h"

namespace retort {

bool amx_bf16_granted() { return true; }

namespace {

TEST(AmxModel, IsAmongTheSets) {
  if (kernel_sets().back()->name == "amx_bf16") return;
  GTEST_SKIP() << "this processor lacks AVX512-BF16, on which the set stands: " << kernel_sets().back()->name;
}

}  // namespace
}  // namespace retort
