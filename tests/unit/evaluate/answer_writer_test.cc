// Answers that a model writes: checks, filters, the best of several.
#include "evaluate/answer_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/example.h"

namespace retort {
namespace {

using testing::HasSubstr;

TEST(AnswerCheck, FindsTheFinalNumber) {
  const std::pair<const char*, std::optional<std::string>> rows[] = {
      {"She sold 48 + 24 = 72 clips.\n#### 72", "72"},
      {"#### 1,200.50 dollars", "1200.5"},
      {"between 3 and 4.0", "4"},
      {"it costs $0.50.", "0.5"},
      {"十二加三是 15。", "15"},
      {"so x = -7", "-7"},
      {"10-3", "3"},
      {"#### 007", "7"},
      {"#### -0", "0"},
      {"0.000", "0"},
      {"five", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& [text, number] : rows) EXPECT_EQ(final_number(text), number) << text;
}

TEST(AnswerCheck, ComparesWhatItFinds) {
  const AnswerCheck number("number", ""), letter("regex", R"(answer is \(?\K[A-D])"), none("none", "");
  EXPECT_TRUE(number.right("… which makes 72.0", "#### 72"));
  EXPECT_FALSE(number.right("#### 71", "#### 72"));
  EXPECT_FALSE(number.right("many", "#### 72"));
  EXPECT_FALSE(number.right("72", "many"));
  EXPECT_TRUE(letter.right("I thought the answer is A, but the answer is (C)", "the answer is C"));
  EXPECT_FALSE(letter.right("the answer is A", "the answer is C"));
  EXPECT_TRUE(none.right("anything", ""));
  EXPECT_THROW(AnswerCheck("regex", ""), Error);
  EXPECT_THROW(AnswerCheck("number", "x"), Error);
  EXPECT_THROW(AnswerCheck("regex", "("), Error);
}

TEST(AnswerFilter, SaysWhyATextIsRefused) {
  const AnswerFilter filter({.min_chars = 2, .max_chars = 40, .pattern = R"(\p{Han})", .forbid = "http"});
  EXPECT_EQ(filter.refusal("学而时习之"), nullptr);
  EXPECT_STREQ(filter.refusal("学"), "too short");
  EXPECT_STREQ(filter.refusal(std::string(41, 'a') + "学"), "too long");
  EXPECT_STREQ(filter.refusal("no such letters"), "lacks the pattern");
  EXPECT_STREQ(filter.refusal("见 http://x"), "has what is forbidden");
  EXPECT_STREQ(filter.refusal("好的好的好的好的好的好的好的好的"), "repeats itself");
  EXPECT_THROW(AnswerFilter({.min_chars = 5, .max_chars = 4}), Error);
  EXPECT_THROW(AnswerFilter({.max_repetition = 2}), Error);
}

TEST(AnswerFilter, RepetitionIsTheShareOfPiecesSeenBefore) {
  EXPECT_EQ(repetition("abcdefgh"), 0);
  EXPECT_EQ(repetition(""), 0);
  EXPECT_DOUBLE_EQ(repetition("aaaaaaaaaa"), 2. / 3);                        // three pieces, one of them new
  EXPECT_DOUBLE_EQ(repetition("学而时习之不亦说学而时习之不亦说"), 1. / 9);  // the last of nine
}

constexpr TokenId kEnd = 257;

// A token per byte, and an end mark.
class Bytes : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      const bool end = options.parse_added_tokens && text.starts_with("<|im_end|>");
      ids.push_back(end ? kEnd : static_cast<unsigned char>(text.front()));
      text.remove_prefix(end ? 10 : 1);
    }
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool) const override {
    std::string text;
    for (const TokenId id : ids)
      if (id < 256) text += static_cast<char>(id);
    return text;
  }
  std::string token_bytes(TokenId id) const override { return std::string(1, static_cast<char>(id)); }
  std::int64_t vocab_size() const override { return 258; }
  std::optional<TokenId> token_id(std::string_view) const override { return std::nullopt; }
  std::string token_text(TokenId id) const override { return token_bytes(id); }
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::string fingerprint() const override { return "bytes"; }

 private:
  std::vector<AddedToken> added_ = {{kEnd, "<|im_end|>", true}};
};

// Writes the given answers in turn; judges a text by its length.
class Script : public LanguageModel {
 public:
  explicit Script(std::vector<std::pair<std::string, float>> answers) : answers_(std::move(answers)) {
    config_.max_position_embeddings = 200;
  }
  const ModelConfig& config() const override { return config_; }
  std::int64_t context() const override { return room; }
  std::vector<Scores> score(std::span<const Sequence> sequences, const ScoreOptions&) override {
    std::vector<Scores> all;
    for (const Sequence& s : sequences) {
      const float each = -0.01f * static_cast<float>(s.tokens.size());
      all.emplace_back().logprobs.assign(s.tokens.size() - 1, each);
    }
    return all;
  }
  void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                const TokenCallback& callback) override {
    seeds.push_back(options.seed);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const auto& [text, logprob] = answers_[next_++ % answers_.size()];
      const std::int64_t most = std::min(options.max_tokens, room - std::ssize(prompts[i].tokens));
      for (std::int64_t t = 0; t < std::min(most, std::ssize(text)); ++t)
        callback(i, static_cast<unsigned char>(text[static_cast<std::size_t>(t)]), logprob);
    }
  }
  std::vector<std::int64_t> seeds;
  std::int64_t room = 200;  // for question and answer

 private:
  ModelConfig config_;
  std::vector<std::pair<std::string, float>> answers_;
  std::size_t next_ = 0;
};

class Writer : public testing::Test {
 protected:
  std::vector<std::string> write(WriterOptions options, bool judged = false,
                                 const std::string& reference = "#### 4") {
    options.generate.temperature = 1;
    options.best_of = 5;
    AnswerWriter writer({&model_, &tokenizer_, &template_},
                        judged ? ModelView{&model_, &tokenizer_, &template_} : ModelView{}, options);
    const auto kept = writer.write({{{{"user", "2 + 2?"}}, reference}}, 0);
    counts_ = writer.counts();
    std::vector<std::string> texts;
    for (const WrittenAnswer& answer : kept.at(0)) texts.push_back(answer.text);
    return texts;
  }

  Script model_{{{"it is 5", -0.1f},
                 {"I say 4", -0.3f},
                 {"so: 4", -0.2f},
                 {"so: 4", -0.2f},
                 {"4, the number four", -0.5f}}};
  Bytes tokenizer_;
  ChatTemplate template_{kChatMLTemplate, Json::object(), "ChatML"};
  std::map<std::string, std::int64_t> counts_;
};

TEST_F(Writer, KeepsTheLikeliestOfThoseThatAreRight) {
  EXPECT_EQ(write({.check = "number"}), (std::vector<std::string>{"so: 4"}));
  EXPECT_EQ(counts_, (std::map<std::string, std::int64_t>{{"kept", 1}, {"wrong", 1}, {"passed", 3}}));
  EXPECT_EQ(write({}), (std::vector<std::string>{"it is 5"}));
}

TEST_F(Writer, KeepsSeveralDifferentOnesByRank) {
  EXPECT_EQ(write({.keep = 3, .check = "number"}),
            (std::vector<std::string>{"so: 4", "I say 4", "4, the number four"}));
  EXPECT_EQ(write({.keep = 2, .rank = "shortest", .check = "number"}),
            (std::vector<std::string>{"so: 4", "I say 4"}));
  EXPECT_EQ(write({.keep = 2, .rank = "judge", .check = "number"}, true),
            (std::vector<std::string>{"so: 4", "I say 4"}));
}

TEST_F(Writer, KeepsWhatIsNearestToTheDatasAnswer) {
  EXPECT_EQ(write({.keep = 2, .rank = "reference"}, false, "the number four it is"),
            (std::vector<std::string>{"4, the number four", "it is 5"}));
}

TEST_F(Writer, RefusesWhatTheJudgeFindsUnlikelyAndWhatIsCutOff) {
  // The judge gives -0.01 per token of the whole text: "so: 4" is the only one above this.
  EXPECT_EQ(write({.keep = 5, .judge_above = -0.545}, true), (std::vector<std::string>{"so: 4"}));
  EXPECT_EQ(counts_.at("below the judge's bound"), 3);
  WriterOptions brief{.keep = 5};
  brief.generate.max_tokens = 6;
  EXPECT_EQ(write(brief), (std::vector<std::string>{"so: 4"}));
  EXPECT_EQ(counts_.at("unfinished"), 3);
}

TEST_F(Writer, AnAnswerThatFillsTheContextIsCutOff) {
  const std::vector<Message> question = {{"user", "2 + 2?"}};
  const std::int64_t tokens = std::ssize(encode_prompt(tokenizer_, template_, question));
  model_.room = tokens + 6;
  EXPECT_EQ(write({.keep = 5}), (std::vector<std::string>{"so: 4"}));
  EXPECT_EQ(counts_.at("unfinished"), 3);
  model_.room = tokens;
  EXPECT_TRUE(write({.keep = 5}).empty());
  EXPECT_EQ(counts_.at("question too long"), 1);
}

TEST_F(Writer, DrawsAnewForEachBlock) {
  WriterOptions options{.best_of = 2};
  options.generate.temperature = 1;
  AnswerWriter writer({&model_, &tokenizer_, &template_}, {}, options);
  const std::vector<OpenQuestion> questions = {{{{"user", "?"}}, ""}};
  for (const std::uint64_t block : {0, 1, 0}) writer.write(questions, block);
  EXPECT_NE(model_.seeds[0], model_.seeds[1]);
  EXPECT_EQ(model_.seeds[0], model_.seeds[2]);
}

TEST_F(Writer, NamesTheOptionThatIsWrong) {
  const auto error = [&](WriterOptions options) {
    try {
      AnswerWriter({&model_, &tokenizer_, &template_}, {}, options);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error({.best_of = 0}), HasSubstr("best_of"));
  EXPECT_THAT(error({.best_of = 2}), HasSubstr("temperature"));
  EXPECT_THAT(error({.keep = 2}), HasSubstr("keep"));
  EXPECT_THAT(error({.rank = "judge"}), HasSubstr("judge"));
  EXPECT_THAT(error({.judge_above = 1}), HasSubstr("judge_above"));
}

}  // namespace
}  // namespace retort
