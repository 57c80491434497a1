#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace retort {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers of Random123, the generator's own distribution (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, PlaceDecidesTheNumber) {
  Random a(7, 3);
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 10; ++i) numbers.push_back(a.next());
  Random b(7, 3);
  b.seek(6);
  EXPECT_EQ(b.next(), numbers[6]);
  EXPECT_EQ(b.position(), 7u);
  EXPECT_NE(Random(7, 4).next(), numbers[0]);
  EXPECT_NE(Random(8, 3).next(), numbers[0]);
}

TEST(Random, MomentsOfUniformAndNormal) {
  Random random(1);
  double sum = 0, normal_sum = 0, normal_squares = 0;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) {
    const double value = random.uniform(), normal = random.normal();
    ASSERT_TRUE(value >= 0 && value < 1);
    sum += value;
    normal_sum += normal;
    normal_squares += normal * normal;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.005);  // five standard errors
  EXPECT_NEAR(normal_sum / kCount, 0, 0.016);
  EXPECT_NEAR(normal_squares / kCount, 1, 0.023);
}

TEST(Random, BelowIsEvenAndShuffleKeepsAll) {
  Random random(2);
  std::array<int, 3> counts = {};
  for (int i = 0; i < 30'000; ++i) ++counts[random.below(3)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 410);
  std::vector<int> items(100), sorted;
  std::iota(items.begin(), items.end(), 0);
  sorted = items;
  random.shuffle(items);
  EXPECT_NE(items, sorted);
  std::sort(items.begin(), items.end());
  EXPECT_EQ(items, sorted);
}

}  // namespace
}  // namespace retort
