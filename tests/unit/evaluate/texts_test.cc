#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "evaluate/evaluate.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

class Texts : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "retort_texts";
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path file(const char* name, std::string_view content) {
    write_file_atomically(folder_ / name, content);
    return folder_ / name;
  }
  fs::path folder_;
};

// The copies of the input in the fixture: the trivial answer to a translation task.
Evaluation copies(const fs::path& folder, double drop) {
  std::string hypotheses, references;
  Random random(3);
  const std::string pairs = read_file(RETORT_SOURCE_DIR "/tests/fixtures/classical_modern/pairs.tsv");
  for (std::size_t at = 0; at < pairs.size();) {
    const std::size_t tab = pairs.find('\t', at), end = pairs.find('\n', at);
    const bool is_dropped = random.uniform() < drop;
    hypotheses += (is_dropped ? "" : pairs.substr(at, tab - at)) + "\n";
    references += pairs.substr(tab + 1, end - tab);
    at = end + 1;
  }
  write_file_atomically(folder / "h.txt", hypotheses);
  write_file_atomically(folder / "r.txt", references);
  return evaluate_texts(folder / "h.txt", folder / "r.txt", {});
}

TEST_F(Texts, LinesAreJudged) {
  const Evaluation evaluation =
      evaluate_texts(file("h", "今天天气好。\r\n\n"), file("r", "今天天气好。\n明天也好。"), {});
  ASSERT_EQ(evaluation.pairs.size(), 2u);
  EXPECT_EQ(evaluation.pairs[0].hypothesis, "今天天气好。");
  EXPECT_EQ(evaluation.pairs[1].hypothesis, "");
  EXPECT_EQ(evaluation.pairs[1].reference_chars, 5);
  EXPECT_DOUBLE_EQ(evaluation.rouge_l, 0.5);
  EXPECT_NEAR(evaluation.bleu4, 100 * std::exp(1 - 11.0 / 6), 1e-9);
  EXPECT_FALSE(evaluation.has_likelihood);
  const Json json = evaluation.to_json();
  EXPECT_TRUE(json.contains("bleu4_interval"));
  EXPECT_FALSE(json.contains("perplexity"));
}

TEST_F(Texts, UnequalFilesAreRefused) {
  EXPECT_THROW(evaluate_texts(file("h", "a\n"), file("r", "a\nb\n"), {}), Error);
  EXPECT_THROW(evaluate_texts(file("h", ""), file("r", ""), {}), Error);
  EXPECT_THROW(evaluate_texts(file("h", "a"), file("r", "a"), {.bleu_tokenize = "zn"}), Error);
}

TEST_F(Texts, AWorseSystemIsSeenByThePairedBootstrap) {
  const Evaluation whole = copies(folder_, 0), same = copies(folder_, 0), less = copies(folder_, 0.2);
  ASSERT_EQ(whole.pairs.size(), 1500u);
  EXPECT_LT(whole.bleu4_interval.low, whole.bleu4);
  EXPECT_GT(whole.bleu4_interval.high, whole.bleu4);
  const Comparison worse = compare(whole, less);
  EXPECT_GT(worse.bleu4.low, 0);
  EXPECT_TRUE(worse.rouge_l.excludes_zero());
  EXPECT_NEAR(worse.bleu4.mean, whole.bleu4 - less.bleu4, 0.2);
  // Paired: the same texts differ by exactly nothing on every resample.
  const Comparison equal = compare(whole, same);
  EXPECT_EQ(equal.bleu4.low, 0);
  EXPECT_EQ(equal.bleu4.high, 0);
  EXPECT_FALSE(equal.bleu4.excludes_zero());
}

TEST_F(Texts, OutputsComeBackEqual) {
  Evaluation evaluation = copies(folder_, 0);
  for (std::size_t i = 0; i < evaluation.pairs.size(); ++i) {
    evaluation.pairs[i].negative_log_likelihood = 0.1 * static_cast<double>(i);
    evaluation.pairs[i].target_tokens = 7;
  }
  evaluation.pairs[3].source = "line\nbreak \"quoted\"";
  evaluation.has_likelihood = true;
  write_outputs(folder_ / "o.jsonl", evaluation);
  const Evaluation back = read_outputs(folder_ / "o.jsonl", {});
  ASSERT_EQ(back.pairs.size(), evaluation.pairs.size());
  EXPECT_EQ(back.pairs[3].source, evaluation.pairs[3].source);
  EXPECT_EQ(back.bleu4, evaluation.bleu4);
  EXPECT_EQ(back.rouge_l, evaluation.rouge_l);
  EXPECT_EQ(back.bleu4_interval.low, evaluation.bleu4_interval.low);
  EXPECT_NEAR(back.nats_per_token, 0.1 * 1499 / 2 / 7, 1e-9);
  EXPECT_NO_THROW(compare(evaluation, back));
  EXPECT_EQ(compare(evaluation, read_outputs(folder_ / "o.jsonl", {.limit = 9})).pairs, 9u);
}

TEST_F(Texts, OutputsOfOtherProgramsAreReadAndBadOnesNamed) {
  const Evaluation evaluation =
      read_outputs(file("o", "{\"reference\": \"a b\", \"hypothesis\": \"a b\"}\n\n"), {});
  EXPECT_EQ(evaluation.pairs.size(), 1u);
  EXPECT_FALSE(evaluation.has_likelihood);
  try {
    read_outputs(file("o", "{\"reference\": \"a\"}\n{\"reference\": 3}\n"), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("o line 2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace retort
