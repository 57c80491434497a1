#include <gtest/gtest.h>

#include <set>

#include "data/record_source.h"

namespace retort {
namespace {

Record pair(const std::string& source, const std::string& target) {
  Record record;
  record.messages = {{"user", source}, {"assistant", target}};
  return record;
}

TEST(RecordId, IsFixedForAllTime) {
  // Traces and validation lists on disk hold these numbers: a change here makes them useless.
  EXPECT_EQ(pair("学而时习之", "学了又按时温习").id(), 710321473484319540u);
  Record text;
  text.text = "Call me Ishmael.";
  EXPECT_EQ(text.id(), 17686792493285512369u);
}

TEST(RecordId, SeesTextAndNotHowItWasSaved) {
  EXPECT_EQ(pair("a\r\nb ", "caf\u00e9").id(), pair("a\nb", "cafe\u0301").id());
  EXPECT_NE(pair("a", "b").id(), pair("b", "a").id());
  EXPECT_NE(pair("ab", "c").id(), pair("a", "bc").id());
  EXPECT_NE(pair("1+1", "2").id(), pair("1-1", "2").id());
  EXPECT_NE(pair("A", "b").id(), pair("a", "b").id());
  Record other = pair("a", "b");
  other.messages[0].role = "system";
  EXPECT_NE(other.id(), pair("a", "b").id());
}

TEST(Split, IsStableAndGrowsWithItsShare) {
  int small = 0, large = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t id = pair("question " + std::to_string(i), "answer").id();
    const bool in_small = in_validation(id, 0.02);
    small += in_small;
    large += in_validation(id, 0.1);
    if (in_small) {
      EXPECT_TRUE(in_validation(id, 0.1));
    }
    EXPECT_FALSE(in_validation(id, 0));
    EXPECT_TRUE(in_validation(id, 1));
  }
  // Binomial: standard deviations of 44 and 95.
  EXPECT_NEAR(small, 2000, 250);
  EXPECT_NEAR(large, 10000, 500);
}

TEST(Overlap, LettersAndDigitsAreAllThatCounts) {
  EXPECT_EQ(normalized_for_overlap("  Ｈｅｌｌｏ, WORLD！ ②"), "helloworld2");
  EXPECT_EQ(normalized_for_overlap("子曰：「學而」。"), "子曰學而");
  EXPECT_EQ(normalized_for_overlap("Straße"), normalized_for_overlap("STRASSE"));
  EXPECT_EQ(normalized_for_overlap("caf\u00e9"), normalized_for_overlap("CAFE\u0301"));
  EXPECT_EQ(normalized_for_overlap("… — !?"), "");
  EXPECT_EQ(normalized_for_overlap("\xff"), "");
}

}  // namespace
}  // namespace retort
