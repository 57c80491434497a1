#include "evaluate/metrics/rouge.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace retort {
namespace {

TEST(Rouge, AgreesWithTheReferenceExample) {
  // rouge-score's README: the quick brown fox …
  const RougeScore score = rouge_score("The quick brown dog jumps on the log.",
                                       "The quick brown fox jumps over the lazy dog", RougeUnit::word);
  EXPECT_NEAR(score.rouge1, 2 * 0.75 * (6.0 / 9) / (0.75 + 6.0 / 9), 1e-12);
  EXPECT_NEAR(score.rouge_l, 2 * 0.625 * (5.0 / 9) / (0.625 + 5.0 / 9), 1e-12);
}

TEST(Rouge, WordUnitSeesNoChinese) {
  EXPECT_EQ(rouge_score("今天", "今天", RougeUnit::word).rouge1, 0);
  EXPECT_EQ(rouge_score("今天", "今天", RougeUnit::character).rouge1, 1);
}

TEST(Rouge, CharacterUnitKeepsWordsWhole) {
  // Tokens: 用 gpt 4o 写 against 用 gpt 3 写.
  const RougeScore score = rouge_score("用GPT-4o写", "用gpt-3写。", RougeUnit::character);
  EXPECT_DOUBLE_EQ(score.rouge1, 0.75);
  EXPECT_DOUBLE_EQ(score.rouge2, 1.0 / 3);
  EXPECT_DOUBLE_EQ(score.rouge_l, 0.75);
}

TEST(Rouge, EmptyTextsScoreZero) {
  for (const RougeUnit unit : {RougeUnit::word, RougeUnit::character}) {
    EXPECT_EQ(rouge_score("", "", unit).rouge_l, 0);
    EXPECT_EQ(rouge_score("a", "", unit).rouge1, 0);
    EXPECT_EQ(rouge_score("a", "a", unit).rouge2, 0);
  }
  EXPECT_THROW(rouge_unit("letter"), Error);
}

}  // namespace
}  // namespace retort
