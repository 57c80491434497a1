#include "evaluate/metrics/bleu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace retort {
namespace {

using testing::ElementsAre;

TEST(Bleu, TokenizesAsMteval13a) {
  EXPECT_THAT(bleu_tokenize("Pay &quot;$1,000.50&quot;, please.", "13a"),
              ElementsAre("Pay", "\"", "$", "1,000.50", "\"", ",", "please", "."));
  EXPECT_THAT(bleu_tokenize("hy-\nphen 2-3", "13a"), ElementsAre("hyphen", "2", "-", "3"));
}

TEST(Bleu, TokenizesChineseByCharacter) {
  EXPECT_THAT(bleu_tokenize("我用GPT-4o写了3.5页。", "zh"),
              ElementsAre("我", "用", "GPT-4o", "写", "了", "3.5", "页", "。"));
  EXPECT_THAT(bleu_tokenize("a 我", "char"), ElementsAre("a", "我"));
  EXPECT_THAT(bleu_tokenize("a, b", "none"), ElementsAre("a,", "b"));
}

TEST(Bleu, IdenticalIsHundredAndEmptyIsZero) {
  const BleuOptions options{.tokenize = "zh"};
  EXPECT_DOUBLE_EQ(bleu_score(bleu_counts("今天天气很好。", "今天天气很好。", options), options), 100);
  EXPECT_EQ(bleu_score(bleu_counts("", "今天", options), options), 0);
  EXPECT_EQ(bleu_score(bleu_counts("今天", "", options), options), 0);
  EXPECT_EQ(bleu_score(bleu_counts("", "", options), options), 0);
}

TEST(Bleu, ClipsRepeatedWordsAndPunishesBrevity) {
  const BleuOptions options{.tokenize = "none", .smooth = "none"};
  const BleuCounts counts = bleu_counts("the the the the", "the cat the mat sat", options);
  EXPECT_EQ(counts.correct[0], 2);
  EXPECT_EQ(counts.total[0], 4);
  const BleuCounts prefix = bleu_counts("a b c d", "a b c d e f g h", options);
  EXPECT_NEAR(bleu_score(prefix, options), 100 * std::exp(1.0 - 8.0 / 4.0), 1e-12);
}

TEST(Bleu, CountsAddUp) {
  const BleuOptions options;
  BleuCounts sum = bleu_counts("a b", "a c", options);
  sum += bleu_counts("d e f", "d e f", options);
  EXPECT_EQ(sum.correct[0], 4);
  EXPECT_EQ(sum.total[1], 3);
  EXPECT_EQ(sum.hypothesis_length, 5);
}

TEST(Bleu, NamesItsOptions) {
  EXPECT_EQ(bleu_signature({.tokenize = "zh"}),
            "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:retort-" RETORT_VERSION);
  EXPECT_EQ(bleu_signature({.smooth = "floor", .lowercase = true}),
            "nrefs:1|case:lc|eff:no|tok:13a|smooth:floor[0.10]|version:retort-" RETORT_VERSION);
  EXPECT_THROW(bleu_tokenize("x", "zhh"), Error);
  EXPECT_THROW(bleu_score({}, {.smooth = "exq"}), Error);
}

TEST(Bleu, SurvivesInvalidUtf8) {
  EXPECT_THAT(bleu_tokenize("a\xff\xfe b", "13a"), ElementsAre("a\ufffd\ufffd", "b"));
}

}  // namespace
}  // namespace retort
