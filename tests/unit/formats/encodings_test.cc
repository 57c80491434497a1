#include "formats/encodings/encoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "formats/encodings/k_block.h"
#include "formats/encodings/scale_search.h"

namespace retort {
namespace {

std::vector<float> bell(std::size_t count, float width, std::uint64_t seed = 3) {
  std::vector<float> values(count);
  std::uint64_t state = seed;
  for (float& value : values) {
    double sum = 0;  // of twelve uniform numbers: nearly normal
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(state >> 40) / 16777216.0;
    }
    value = static_cast<float>(sum - 6.0) * width;
  }
  return values;
}

std::vector<float> round_trip(const Encoding& encoding, const std::vector<float>& values,
                              std::span<const float> importance = {}) {
  std::vector<std::byte> blocks(
      static_cast<std::size_t>(encoding.byte_size(static_cast<std::int64_t>(values.size()))));
  encode_rows(encoding, values, static_cast<std::int64_t>(values.size()), importance, blocks.data(), "test");
  std::vector<float> decoded(values.size());
  encoding.decode(blocks.data(), decoded);
  return decoded;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b,
                     std::span<const float> weights = {}) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += (weights.empty() ? 1.0 : weights[i]) * (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// What every row of the registry keeps.
class EncodingContract : public testing::TestWithParam<const Encoding*> {};
INSTANTIATE_TEST_SUITE_P(All, EncodingContract, testing::ValuesIn(encodings().begin(), encodings().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(EncodingContract, IsFoundByNameAndType) {
  const Encoding& row = *GetParam();
  EXPECT_EQ(&find_encoding(row.name, "test"), &row);
  EXPECT_EQ(find_ggml_encoding(row.ggml_type), &row);
  if (!row.dot_partner.empty()) {
    const Encoding& partner = find_encoding(row.dot_partner, "test");
    EXPECT_EQ(partner.block_size, row.block_size);
  }
}

TEST_P(EncodingContract, ErrorFitsTheBits) {
  const Encoding& row = *GetParam();
  const std::vector<float> values = bell(2048, 0.02f);
  const double relative = std::sqrt(squared_error(round_trip(row, values), values) /
                                    squared_error(values, std::vector<float>(values.size())));
  // A uniform grid of b bits over ±4 deviations has a relative error of 8 / 2^b / √12; scales per block beat
  // that. Up to one bit of each weight is scales.
  const double bits = std::floor(row.bits_per_weight() - 0.5);
  EXPECT_LT(relative, 8 / std::pow(2.0, std::min(bits, 8.0)) / std::sqrt(12.0)) << relative;
}

TEST_P(EncodingContract, ZerosStayZeros) {
  const std::vector<float> zeros(512, 0.0f);
  for (const float value : round_trip(*GetParam(), zeros)) EXPECT_EQ(value, 0.0f);
}

TEST_P(EncodingContract, TakesExtremes) {
  const Encoding& row = *GetParam();
  for (const float size : {1e-42f, 1e-30f, 1e-7f, 1.0f, 6e4f}) {
    std::vector<float> values = bell(512, 1.0f);
    for (float& value : values) value = std::clamp(value / 6.0f, -1.0f, 1.0f) * size;
    for (const float value : round_trip(row, values)) {
      ASSERT_TRUE(std::isfinite(value)) << row.name << " of " << size;
      EXPECT_LE(std::fabs(value), 1.3f * size);
    }
  }
}

TEST_P(EncodingContract, RefusesWhatItCannotHold) {
  const Encoding& row = *GetParam();
  std::vector<std::byte> blocks(4096);
  std::vector<float> values(512, 0.5f);
  if (row.block_size > 1) {
    EXPECT_THROW(encode_rows(row, std::span(values).first(33), 33, {}, blocks.data(), "test"), Error);
  }
  values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(encode_rows(row, values, 512, {}, blocks.data(), "test"), Error);
  values[7] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(encode_rows(row, values, 512, {}, blocks.data(), "test"), Error);
  values[7] = 1;
  EXPECT_THROW(encode_rows(row, values, 512, std::vector<float>(5, 1.0f), blocks.data(), "test"), Error);
}

TEST_P(EncodingContract, RowsStandAlone) {
  const Encoding& row = *GetParam();
  const std::vector<float> values = bell(1024, 0.1f);
  const std::vector<float> both = round_trip(row, values);
  const std::vector<float> second = round_trip(row, {values.begin() + 512, values.end()});
  for (std::size_t i = 0; i < 512; ++i) EXPECT_EQ(both[512 + i], second[i]);
}

TEST(Encodings, EveryFileHasItsRow) {
  std::set<std::string> names = {"i8_channel", "f8_channel"};
  for (const Encoding* row : encodings()) names.insert(std::string(row->name));
  // Parts that several share.
  const std::set<std::string> parts = {"registry", "affine", "symmetric", "k_block", "scale_search"};
  for (const auto& entry : std::filesystem::directory_iterator(RETORT_SOURCE_DIR "/src/formats/encodings"))
    if (entry.path().extension() == ".cc") {
      EXPECT_TRUE(names.contains(entry.path().stem()) || parts.contains(entry.path().stem())) << entry.path();
    }
}

TEST(Encodings, NamesTheNearest) {
  try {
    find_encoding("q4k", "--encoding");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("q4_k"), std::string::npos) << error.what();
  }
}

TEST(Encodings, ImportanceMovesTheError) {
  const std::vector<float> values = bell(512, 0.1f);
  std::vector<float> importance(512);
  for (std::size_t i = 0; i < importance.size(); ++i) importance[i] = i % 5 == 0 ? 10.0f : 0.1f;
  for (const char* name : {"q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k", "iq4_nl"}) {
    const Encoding& row = find_encoding(name, "test");
    EXPECT_LT(squared_error(round_trip(row, values, importance), values, importance),
              squared_error(round_trip(row, values), values, importance))
        << name;
  }
  // All zero says nothing about what matters: as if there were none.
  const std::vector<float> nothing(512, 0.0f);
  const Encoding& row = find_encoding("q4_k", "test");
  EXPECT_EQ(round_trip(row, values, nothing), round_trip(row, values));
}

TEST(ScaleSearch, FindsAnExactGrid) {
  std::vector<float> x, ones(32, 1.0f);
  for (int i = 0; i < 32; ++i) x.push_back(0.37f * static_cast<float>(i % 16 - 8));
  EXPECT_NEAR(std::fabs(fit_scale(x, ones, {-8, 7})), 0.37f, 1e-5f);
  for (float& value : x) value -= 1.5f;
  const ScaleAndMinimum fit = fit_scale_and_minimum(x, ones, 15, true);
  EXPECT_NEAR(fit.scale, 0.37f, 1e-4f);
  EXPECT_NEAR(grid_error(x, ones, {0, 15}, fit.scale, fit.minimum), 0.0f, 1e-6f);
}

// Against every scale of a fine ladder: the search must come within 1 % of the best.
TEST(ScaleSearch, ComesNearTheBest) {
  const std::vector<float> ones(16, 1.0f);
  double found = 0, best = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const std::vector<float> x = bell(16, 0.1f, seed);
    found += grid_error(x, ones, {-8, 7}, fit_scale(x, ones, {-8, 7}));
    float least = 1e9f;
    for (float scale = -0.08f; scale < 0.08f; scale += 5e-5f)
      least = std::min(least, grid_error(x, ones, {-8, 7}, scale));
    best += least;
  }
  EXPECT_LT(found, 1.01 * best);
}

TEST(KBlock, ScalesSurvivePacking) {
  KBlock block, copy;
  for (std::size_t i = 0; i < kKRuns; ++i) {
    block.scale[i] = static_cast<int>(i * 9);
    block.minimum[i] = static_cast<int>(63 - i * 8);
  }
  std::byte bytes[kKScaleBytes];
  store_k_scales(bytes, block);
  load_k_scales(bytes, copy);
  EXPECT_EQ(copy.scale, block.scale);
  EXPECT_EQ(copy.minimum, block.minimum);
}

}  // namespace
}  // namespace retort
