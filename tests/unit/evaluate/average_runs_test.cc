// Several runs as one: scores against sums by hand.
#include "evaluate/average_runs.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "evaluate/summary.h"

namespace retort {
namespace {

Evaluation judged(const std::vector<std::string>& hypotheses, double nats) {
  const std::vector<std::string> references = {"多喝水，好好休息", "去医院检查一下血压", "少吃盐"};
  Evaluation evaluation;
  evaluation.has_answers = evaluation.has_likelihood = true;
  for (std::size_t i = 0; i < references.size(); ++i) {
    JudgedPair& pair = evaluation.pairs.emplace_back();
    pair.source = "问" + std::to_string(i);
    pair.reference = references[i];
    pair.hypothesis = hypotheses[i];
    pair.negative_log_likelihood = nats * static_cast<double>(i + 1);
    pair.target_tokens = 4;
    judge_texts(pair, {});
  }
  summarize(evaluation, {});
  return evaluation;
}

TEST(AverageRuns, ScoresAreOfTheRunsTogether) {
  const Evaluation a = judged({"多喝水", "去医院检查一下血压吧", "少吃盐"}, 2),
                   b = judged({"多喝水，休息", "检查血压", "不吃盐"}, 5);
  const Evaluation both = average_runs({a, b}, {}, "row");
  ASSERT_EQ(both.pairs.size(), 3u);
  const double chars = 8 + 9 + 3;
  EXPECT_DOUBLE_EQ(both.nats_per_char, (2 + 5) * (1 + 2 + 3) / (2 * chars));
  EXPECT_DOUBLE_EQ(both.nats_per_char, (a.nats_per_char + b.nats_per_char) / 2);
  EXPECT_NEAR(both.rouge_l, (a.rouge_l + b.rouge_l) / 2, 1e-12);
  BleuCounts counts;
  for (const Evaluation* run : {&a, &b})
    for (const JudgedPair& pair : run->pairs) counts += pair.bleu;
  EXPECT_DOUBLE_EQ(both.bleu4, bleu_score(counts, {}));
  EXPECT_LT(both.nats_per_char_interval.low, both.nats_per_char);
  // The same run twice is that run.
  const Evaluation twice = average_runs({a, a}, {}, "row");
  EXPECT_DOUBLE_EQ(twice.nats_per_char, a.nats_per_char);
  EXPECT_DOUBLE_EQ(twice.nats_per_char_interval.high, a.nats_per_char_interval.high);
  EXPECT_DOUBLE_EQ(twice.bleu4, a.bleu4);
}

TEST(AverageRuns, RefusesOtherPairs) {
  Evaluation a = judged({"一", "二", "三"}, 2), b = a;
  b.pairs.pop_back();
  EXPECT_THROW(average_runs({a, b}, {}, "row"), Error);
  b = a;
  std::swap(b.pairs[0], b.pairs[1]);
  EXPECT_THROW(average_runs({a, b}, {}, "row"), Error);
  EXPECT_THROW(average_runs({}, {}, "row"), Error);
}

}  // namespace
}  // namespace retort
