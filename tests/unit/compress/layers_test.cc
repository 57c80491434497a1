#include "compress/shrink/layers.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace retort {
namespace {

TEST(SpreadLayers, KeepsFirstAndLast) {
  EXPECT_EQ(spread_layers(7, 4), (std::vector<std::int64_t>{0, 2, 4, 6}));
  EXPECT_EQ(spread_layers(12, 6), (std::vector<std::int64_t>{0, 2, 4, 7, 9, 11}));
  EXPECT_EQ(spread_layers(5, 5), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(spread_layers(5, 1), (std::vector<std::int64_t>{0}));
}

TEST(SpreadLayers, RefusesCountsOutOfRange) {
  EXPECT_THROW(spread_layers(4, 0), Error);
  EXPECT_THROW(spread_layers(4, 5), Error);
}

}  // namespace
}  // namespace retort
