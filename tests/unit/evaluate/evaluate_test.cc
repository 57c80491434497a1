// The judge of models, with a toy of everything it stands on.
#include "evaluate/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace retort {
namespace {

constexpr TokenId kStart = 256, kEnd = 257;

// A token per byte, and ChatML's two marks.
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      const auto mark = std::find_if(marks_.begin(), marks_.end(),
                                     [&](const AddedToken& t) { return text.rfind(t.content, 0) == 0; });
      if (options.parse_added_tokens && mark != marks_.end()) {
        ids.push_back(mark->id);
        text.remove_prefix(mark->content.size());
      } else {
        ids.push_back(static_cast<unsigned char>(text.front()));
        text.remove_prefix(1);
      }
    }
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override {
    std::string text;
    for (const TokenId id : ids)
      if (!skip_special || id < kStart) text += token_bytes(id);
    return text;
  }
  std::string token_bytes(TokenId id) const override {
    return id >= kStart ? marks_.at(static_cast<std::size_t>(id - kStart)).content
                        : std::string(1, static_cast<char>(id));
  }
  std::int64_t vocab_size() const override { return 258; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    for (const AddedToken& mark : marks_)
      if (mark.content == token) return mark.id;
    if (token.size() == 1) return static_cast<unsigned char>(token.front());
    return std::nullopt;
  }
  std::string token_text(TokenId id) const override { return token_bytes(id); }
  const std::vector<AddedToken>& added_tokens() const override { return marks_; }
  std::string fingerprint() const override { return "bytes"; }

 private:
  std::vector<AddedToken> marks_ = {{kStart, "<|im_start|>", true}, {kEnd, "<|im_end|>", true}};
};

// Gives every byte a quarter nat and the end mark one; answers every prompt with "好" and a mark.
class ToyModel : public LanguageModel {
 public:
  ToyModel() { config_.max_position_embeddings = 100; }
  const ModelConfig& config() const override { return config_; }
  std::vector<Scores> score(std::span<const Sequence> sequences, const ScoreOptions&) override {
    score_batches.push_back(sequences.size());
    std::vector<Scores> all;
    for (const Sequence& sequence : sequences) {
      Scores scores;
      for (std::size_t i = 1; i < sequence.tokens.size(); ++i)
        scores.logprobs.push_back(sequence.tokens[i] == kEnd ? -1.0f : -0.25f);
      all.push_back(std::move(scores));
    }
    return all;
  }
  void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                const TokenCallback& callback) override {
    generate_batches.push_back(prompts.size());
    EXPECT_EQ(options.temperature, 0);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      std::int64_t made = 0;
      for (const TokenId token : std::vector<TokenId>{0xE5, 0xA5, 0xBD, kEnd, 'x'}) {
        const auto& ends = options.end_tokens;
        if (std::find(ends.begin(), ends.end(), token) != ends.end() || made++ >= options.max_tokens) break;
        callback(i, token, 0);
      }
    }
  }
  std::int64_t context() const override { return config_.max_position_embeddings - prefix; }
  std::vector<std::size_t> score_batches, generate_batches;
  std::int64_t prefix = 0;

 private:
  ModelConfig config_;
};

class ToyRecords : public RecordSource {
 public:
  explicit ToyRecords(std::vector<Record> records) : records_(std::move(records)) {}
  std::optional<Record> next() override {
    if (place_ == records_.size()) return std::nullopt;
    return records_[place_++];
  }
  void rewind() override { place_ = 0; }
  const SkipReport& skipped() const override { return skipped_; }

 private:
  std::vector<Record> records_;
  std::size_t place_ = 0;
  SkipReport skipped_;
};

Record pair(std::string source, std::string reference) {
  return {{{"user", std::move(source)}, {"assistant", std::move(reference)}}, ""};
}

class Judge : public testing::Test {
 protected:
  Evaluation run(std::vector<Record> records, const EvaluateOptions& options = {}) {
    ToyRecords source(std::move(records));
    return evaluate_model(model_, tokenizer_, {template_, Json::object(), "ChatML"}, source, options);
  }
  ToyModel model_;
  ByteTokenizer tokenizer_;
  std::string template_{kChatMLTemplate};
};

TEST_F(Judge, LikelihoodCountsTheAnswerAndItsEnd) {
  const Evaluation evaluation = run({pair("q", "好"), pair("q", "ab")});
  ASSERT_EQ(evaluation.pairs.size(), 2u);
  // "好" is three bytes and one character, "ab" two of each; each answer has one end mark.
  EXPECT_DOUBLE_EQ(evaluation.pairs[0].negative_log_likelihood, 3 * 0.25 + 1);
  EXPECT_EQ(evaluation.pairs[0].target_tokens, 4);
  EXPECT_EQ(evaluation.pairs[0].reference_chars, 1);
  EXPECT_DOUBLE_EQ(evaluation.nats_per_token, 3.25 / 7);
  EXPECT_DOUBLE_EQ(evaluation.nats_per_char, 3.25 / 3);
  EXPECT_DOUBLE_EQ(evaluation.perplexity, std::exp(3.25 / 7));
  EXPECT_LE(evaluation.nats_per_char_interval.low, 1.5 / 2);
  EXPECT_GE(evaluation.nats_per_char_interval.high, 1.75);
}

TEST_F(Judge, AnswersEndAtTheTemplatesEndToken) {
  const Evaluation evaluation = run({pair("q", "好"), pair("q", "ab")});
  EXPECT_EQ(evaluation.pairs[1].hypothesis, "好");
  EXPECT_DOUBLE_EQ(evaluation.rouge_1, 0.5);
  EXPECT_GT(evaluation.tokens_per_second, 0);
  EXPECT_GT(evaluation.latency_median_ms, 0);
  EXPECT_GE(evaluation.latency_p99_ms, evaluation.latency_median_ms);
  EXPECT_THAT(evaluation.bleu_signature, testing::HasSubstr("tok:zh"));
}

TEST_F(Judge, SkipsAndCountsWhatItCannotJudge) {
  Record dialogue{{{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}}, ""};
  Record with_system{{{"system", "s"}, {"user", "a"}, {"assistant", "b"}}, ""};
  const Evaluation evaluation =
      run({Record{{}, "text"}, dialogue, pair("q", std::string(200, 'x')), pair("q", ""), with_system});
  EXPECT_EQ(evaluation.pairs.size(), 1u);
  EXPECT_EQ(evaluation.pairs[0].source, "a");
  EXPECT_EQ(evaluation.skipped.count, 4);
  EXPECT_EQ(evaluation.skipped.first.size(), 4u);
  EXPECT_THROW(run({dialogue}), Error);
  EXPECT_THROW(run({}), Error);
}

TEST_F(Judge, WorksInBatchesWithinTheLimit) {
  std::vector<std::int64_t> done;
  EvaluateOptions options{.limit = 5, .batch_size = 2, .latency_samples = 3};
  options.progress = [&](EvaluatePhase phase, std::int64_t count, std::int64_t total) {
    if (phase == EvaluatePhase::generation) done.push_back(count);
    EXPECT_LE(count, total);
  };
  run(std::vector<Record>(9, pair("q", "a")), options);
  EXPECT_THAT(model_.score_batches, testing::ElementsAre(2, 2, 1));
  EXPECT_THAT(model_.generate_batches, testing::ElementsAre(2, 2, 1, 1, 1, 1));
  EXPECT_THAT(done, testing::ElementsAre(2, 4, 5));
}

TEST_F(Judge, WhatTheTemplateRefusesIsSkipped) {
  template_.insert(0,
                   "{% if messages[0].content == 'bad' %}{{ raise_exception('no such word') }}{% endif %}");
  const Evaluation evaluation = run({pair("q", "a"), pair("bad", "b"), pair("q", "c")});
  EXPECT_EQ(evaluation.pairs.size(), 2u);
  ASSERT_EQ(evaluation.skipped.count, 1);
  EXPECT_THAT(evaluation.skipped.first.front(), testing::HasSubstr("no such word"));
}

TEST_F(Judge, AModelsOwnPrefixTakesRoomInTheContext) {
  model_.prefix = 40;
  const Evaluation evaluation = run({pair("q", "a"), pair("q", std::string(65, 'x'))});
  EXPECT_EQ(evaluation.pairs.size(), 1u);
  ASSERT_EQ(evaluation.skipped.count, 1);
  EXPECT_THAT(evaluation.skipped.first.front(), testing::HasSubstr("the context has 60"));
}

TEST_F(Judge, StopsBetweenBatchesWhenAsked) {
  int asked = 0;
  EvaluateOptions options{.batch_size = 2};
  const std::vector<Record> records(6, pair("q", "a"));
  // Once before each record and at their end, once before each batch.
  options.cancelled = [&] { return ++asked > 8; };
  EXPECT_TRUE(run(records, options).stopped);
  EXPECT_THAT(model_.score_batches, testing::ElementsAre(2));
  EXPECT_TRUE(model_.generate_batches.empty());
  options.cancelled = [] { return false; };
  EXPECT_FALSE(run(records, options).stopped);
}

TEST_F(Judge, LikelihoodAloneGeneratesNothing) {
  const Evaluation evaluation = run({pair("q", "ab")}, {.generate = false});
  EXPECT_TRUE(model_.generate_batches.empty());
  EXPECT_DOUBLE_EQ(evaluation.nats_per_char, 1.5 / 2);
  const Json json = evaluation.to_json();
  EXPECT_FALSE(json.contains("bleu4"));
  EXPECT_TRUE(json.contains("perplexity"));
}

TEST_F(Judge, ModelAndCopyAreComparedOnTheSamePairs) {
  std::vector<Record> records;
  for (int i = 0; i < 40; ++i) records.push_back(pair("坏" + std::to_string(i), "好"));
  ToyRecords source(records);
  const Evaluation copy = evaluate_copy(source, {});
  EXPECT_EQ(copy.pairs[0].hypothesis, "坏0");
  EXPECT_FALSE(copy.has_likelihood);
  const Comparison comparison = compare(run(records), copy);
  EXPECT_GT(comparison.rouge_l.low, 0);
  EXPECT_EQ(comparison.nats_per_char.high, 0);
  EXPECT_EQ(comparison.pairs, 40u);
}

TEST_F(Judge, AComparisonLeavesOutWhatOneSideSkipped) {
  std::vector<Record> records;
  for (int i = 0; i < 40; ++i) records.push_back(pair("坏" + std::to_string(i), "好"));
  records.insert(records.begin() + 7, pair("坏", std::string(1000, 'x')));
  records.push_back(records[3]);  // twice in the file: matched twice
  ToyRecords source(records);
  const Evaluation copy = evaluate_copy(source, {}), judged = run(records);
  ASSERT_EQ(judged.pairs.size(), 41u);
  ASSERT_EQ(copy.pairs.size(), 42u);
  const Comparison comparison = compare(judged, copy), back = compare(copy, judged);
  EXPECT_EQ(comparison.pairs, 41u);
  EXPECT_EQ(comparison.rouge_l.low, -back.rouge_l.high);
  Evaluation other = judged;
  for (JudgedPair& judged_pair : other.pairs) judged_pair.reference += "!";
  EXPECT_THROW(compare(judged, other), Error);
}

}  // namespace
}  // namespace retort
