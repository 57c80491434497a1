#include "formats/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace retort {
namespace {

TEST(DType, NamesAndSizesAreSafetensors) {
  EXPECT_EQ(dtype_size(DType::f64), 8u);
  EXPECT_EQ(dtype_size(DType::bf16), 2u);
  EXPECT_EQ(dtype_name(DType::boolean), "BOOL");
  for (int i = 0; i <= static_cast<int>(DType::boolean); ++i)
    EXPECT_EQ(parse_dtype(dtype_name(static_cast<DType>(i))), static_cast<DType>(i));
  EXPECT_FALSE(parse_dtype("f32"));
}

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = f16_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(value))));
      continue;
    }
    ASSERT_EQ(float_to_f16(value), half) << bits;
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) continue;
    const double expected =
        (half & 0x8000 ? -1 : 1) *
        (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
    ASSERT_EQ(static_cast<double>(value), expected) << bits;
  }
}

TEST(DType, HalfRoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = f16_to_float(static_cast<std::uint16_t>(bits)),
                high = f16_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(float_to_f16(middle), bits + (bits & 1)) << bits;
    ASSERT_EQ(float_to_f16(std::nextafterf(middle, 0)), bits) << bits;
    ASSERT_EQ(float_to_f16(std::nextafterf(middle, high)), bits + 1) << bits;
  }
  EXPECT_EQ(float_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(float_to_f16(-1e-30f), 0x8000);
}

TEST(DType, Bfloat16RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(float_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bf16(__builtin_bit_cast(float, 0x3f808000u)), 0x3f80);
  EXPECT_EQ(float_to_bf16(__builtin_bit_cast(float, 0x3f818000u)), 0x3f82);
  EXPECT_EQ(float_to_bf16(__builtin_bit_cast(float, 0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(__builtin_bit_cast(float, 0x7f800001u)))));
  EXPECT_EQ(bf16_to_float(0xff80), -std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace retort
