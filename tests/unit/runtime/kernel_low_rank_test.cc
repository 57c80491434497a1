// LoRA's two products in every kernel set that this processor can run, against double sums, on odd sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "runtime/kernels/kernel_set.h"

namespace retort {
namespace {

constexpr std::int64_t kRows = 9, kRanks = 8, kColumns = 75, kPadded = 128;

std::vector<float> normal_rows(std::int64_t rows, std::int64_t columns, std::int64_t padded,
                               std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(rows * padded));
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      values[static_cast<std::size_t>(row * padded + column)] = static_cast<float>(random.normal());
  return values;
}

// Weights as a job has them, and what they stand for.
struct Weights {
  std::vector<float> values;
  std::vector<std::byte> bytes;

  Weights(const KernelSet& set, bool half) : values(normal_rows(kRanks, kColumns, kPadded, 1)) {
    if (!half) {
      const auto view = std::as_bytes(std::span(values));
      bytes.assign(view.begin(), view.end());
      return;
    }
    for (float& value : values) value = std::round(value * 256) / 256;  // halves hold these
    bytes.resize(values.size() * 2);
    set.to_f16(values.data(), reinterpret_cast<std::uint16_t*>(bytes.data()),
               static_cast<std::int64_t>(values.size()));
  }
  double at(std::int64_t rank, std::int64_t column) const {
    return values[static_cast<std::size_t>(rank * kPadded + column)];
  }
};

TEST(LowRank, ProductsEqualTheSums) {
  const std::vector<std::int64_t> rows = {7, 0, 3, 8, 2, 5, 6};  // of kRows; the others stay
  for (const KernelSet* set : kernel_sets())
    for (const bool half : {false, true}) {
      const Weights weights(*set, half);
      const std::vector<float> x = normal_rows(kRows, kColumns, kPadded, 2);
      std::vector<float> inner(kRows * kRanks, -1), out = normal_rows(kRows, kColumns, kPadded, 3);
      const std::vector<float> before = out;
      const LowRankJob in{.weights = weights.bytes.data(),
                          .half = half,
                          .padded = kPadded,
                          .rows = rows.data(),
                          .n = static_cast<std::int64_t>(rows.size()),
                          .x = x.data(),
                          .out = inner.data(),
                          .x_stride = kPadded,
                          .out_stride = kRanks,
                          .begin = kLowRankTile,
                          .end = kRanks};
      set->low_rank_in(in);
      LowRankJob back = in;
      back.ranks = kRanks;
      back.x = inner.data();
      back.x_stride = kRanks;
      back.out = out.data();
      back.out_stride = kPadded;
      back.begin = 64;
      back.end = kColumns;
      for (const std::int64_t row : rows)
        for (std::int64_t k = 0; k < kLowRankTile; ++k)
          inner[static_cast<std::size_t>(row * kRanks + k)] = 0.5f;
      set->low_rank_out(back);
      for (std::int64_t row = 0; row < kRows; ++row) {
        const bool chosen = std::find(rows.begin(), rows.end(), row) != rows.end();
        for (std::int64_t k = kLowRankTile; k < kRanks; ++k) {
          double sum = 0;
          for (std::int64_t c = 0; c < kColumns; ++c)
            sum += weights.at(k, c) * x[static_cast<std::size_t>(row * kPadded + c)];
          EXPECT_NEAR(inner[static_cast<std::size_t>(row * kRanks + k)], chosen ? sum : -1, 1e-4)
              << set->name;
        }
        for (std::int64_t c = 0; c < kPadded; ++c) {
          double sum = before[static_cast<std::size_t>(row * kPadded + c)];
          if (chosen && c >= 64 && c < kColumns)
            for (std::int64_t k = 0; k < kRanks; ++k)
              sum += weights.at(k, c) * inner[static_cast<std::size_t>(row * kRanks + k)];
          EXPECT_NEAR(out[static_cast<std::size_t>(row * kPadded + c)], sum, 1e-4) << set->name << " " << c;
        }
      }
    }
}

TEST(LowRank, ARowAloneGivesTheSameBits) {
  for (const KernelSet* set : kernel_sets()) {
    const Weights weights(*set, true);
    const std::vector<float> x = normal_rows(kRows, kColumns, kPadded, 2);
    const auto run = [&](const std::vector<std::int64_t>& rows) {
      std::vector<float> inner(kRows * kRanks), out(kRows * kPadded);
      LowRankJob job{.weights = weights.bytes.data(),
                     .half = true,
                     .padded = kPadded,
                     .ranks = kRanks,
                     .rows = rows.data(),
                     .n = static_cast<std::int64_t>(rows.size()),
                     .x = x.data(),
                     .out = inner.data(),
                     .x_stride = kPadded,
                     .out_stride = kRanks,
                     .begin = 0,
                     .end = kRanks};
      set->low_rank_in(job);
      job.x = inner.data();
      job.x_stride = kRanks;
      job.out = out.data();
      job.out_stride = kPadded;
      job.end = kColumns;
      set->low_rank_out(job);
      return out;
    };
    const std::vector<float> together = run({0, 1, 2, 3, 4, 5, 6, 7, 8});
    for (std::int64_t row = 0; row < kRows; ++row) {
      const std::vector<float> alone = run({row});
      for (std::int64_t c = 0; c < kPadded; ++c) {
        const auto at = static_cast<std::size_t>(row * kPadded + c);
        ASSERT_EQ(alone[at], together[at]) << set->name << " row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace retort
