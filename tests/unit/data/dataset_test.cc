#include "data/dataset.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "unit/data/temporary_folder.h"
#include "unit/data/toy_tokenizer.h"

namespace retort {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DatasetTest : public ::testing::Test {
 protected:
  Dataset load(const DatasetOptions& options) const {
    return load_dataset(options, tokenizer_, &format_, 258);
  }

  static std::string pairs(int begin, int end) {
    std::string text;
    for (int i = begin; i < end; ++i) text += fmt::format("question {}\tanswer {}\n", i, i);
    return text;
  }
  static std::set<std::uint64_t> ids(const ExampleStore& store) {
    std::set<std::uint64_t> result;
    for (std::int64_t i = 0; i < store.size(); ++i) result.insert(store.get(i).id);
    return result;
  }

  TemporaryFolder folder_;
  ToyTokenizer tokenizer_;
  ChatTemplate format_{kChatMLTemplate, Json::object(), "ChatML"};
};

TEST_F(DatasetTest, SplitIsStableWhenDataGrows) {
  const auto small = folder_.write("small.tsv", pairs(0, 6000)),
             more = folder_.write("more.tsv", pairs(6000, 9000));
  const Dataset first = load({.data = {small}, .validation_share = 0.1}),
                grown = load({.data = {more, small}, .validation_share = 0.1});
  EXPECT_EQ(first.train.size() + first.validation.size(), 6000);
  EXPECT_NEAR(static_cast<double>(first.validation.size()), 600, 120);
  const auto validation = ids(first.validation), train = ids(first.train), later = ids(grown.validation);
  for (const std::uint64_t id : validation) EXPECT_TRUE(later.contains(id));
  for (const std::uint64_t id : train) EXPECT_FALSE(later.contains(id));
  EXPECT_EQ(grown.train.get(0).source, 0);
  EXPECT_EQ(grown.train.get(grown.train.size() - 1).source, 1);
}

TEST_F(DatasetTest, SeveralThreadsKeepTheOrderOfTheFile) {
  const auto path = folder_.write("pairs.tsv", pairs(0, 9000));
  const Dataset dataset = load({.data = {path}, .validation_share = 0});
  ASSERT_EQ(dataset.train.size(), 9000);
  const auto records = open_records(path);
  for (std::int64_t i = 0; const auto record = records->next(); ++i)
    EXPECT_EQ(dataset.train.get(i).id, record->id());
}

TEST_F(DatasetTest, ValidationTextIsLeftOutOfTraining) {
  const auto validation = folder_.write("valid.tsv", "Question 1!\tAnswer one\nq2\tlabel\nq3\tlabel\n");
  const auto data = folder_.write(
      "data.tsv", "question 1\tother\nother\tANSWER one.\nfine\tlabel\nq 2\tx\nsafe\tsafe answer\n");
  const Dataset either = load({.data = {data}, .validation = {validation}});
  EXPECT_EQ(either.overlapping, 3);
  EXPECT_EQ(either.train.size(), 2);  // "label" is the answer of several questions
  EXPECT_EQ(either.validation.size(), 3);
  EXPECT_EQ(load({.data = {data}, .validation = {validation}, .overlap = "source"}).overlapping, 2);
  EXPECT_EQ(load({.data = {data}, .validation = {validation}, .overlap = "none"}).train.size(), 5);
  const Dataset limited = load({.data = {data}, .validation = {validation}, .validation_limit = 1});
  EXPECT_EQ(limited.validation.size(), 1);
  EXPECT_EQ(limited.overlapping, 3);  // also with what was not validated on
}

TEST_F(DatasetTest, HashSplitLeavesNearCopiesOut) {
  std::string copies;
  for (int i = 0; i < 2000; ++i)
    copies += fmt::format("question {}\tanswer {}\nQuestion {}!\tANSWER {}.\n", i, i, i, i);
  const Dataset dataset = load({.data = {folder_.write("copies.tsv", copies)}, .validation_share = 0.1});
  EXPECT_GT(dataset.overlapping, 200);
  EXPECT_EQ(dataset.train.size() + dataset.validation.size() + dataset.overlapping, 4000);
}

TEST_F(DatasetTest, CountsWhatIsLeftOut) {
  const auto data = folder_.write("data.tsv", "短\t答案\nno tab\nlong\t" + std::string(600, 'x') + "\n");
  const Dataset dataset = load({.data = {data}, .validation_share = 0});
  EXPECT_EQ(dataset.train.size(), 1);
  EXPECT_EQ(dataset.too_long, 1);
  EXPECT_EQ(dataset.train_chars, 2);
  EXPECT_EQ(dataset.train.total_targets(), 6 + 1);
  EXPECT_THAT(dataset.skipped.first, ElementsAre("data.tsv line 2: no tab"));
}

TEST_F(DatasetTest, LongTextIsCutSoThatEveryTokenIsPredictedOnce) {
  const auto data = folder_.write("data.txt", "abcdefghij\n\nxy\n");
  const Dataset dataset = load({.data = {data}, .validation_share = 0, .max_length = 4});
  std::string predicted;
  for (std::int64_t i = 0; i < dataset.train.size(); ++i) {
    const Example example = dataset.train.get(i);
    EXPECT_LE(example.tokens.size(), 4u);
    for (std::size_t t = 1; t < example.tokens.size(); ++t)
      predicted += tokenizer_.token_bytes(example.tokens[t]);
  }
  EXPECT_EQ(predicted, "bcdefghij<|endoftext|>y<|endoftext|>");
  EXPECT_EQ(ids(dataset.train).size(), static_cast<std::size_t>(dataset.train.size()));
  EXPECT_EQ(dataset.train_chars, 12);
}

TEST_F(DatasetTest, RecordsThatTheTemplateRefusesAreSkippedWithTheirPlace) {
  const ChatTemplate strict(
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
      "{{ m.content + '<|im_end|>' }}{% endfor %}",
      Json::object(), "strict");
  const auto data = folder_.write(
      "data.jsonl",
      "{\"question\":\"q\",\"answer\":\"a\"}\n{\"system\":\"s\",\"question\":\"q\",\"answer\":\"a\"}\n");
  const Dataset dataset = load_dataset({.data = {data}, .validation_share = 0}, tokenizer_, &strict, 258);
  EXPECT_EQ(dataset.train.size(), 1);
  ASSERT_EQ(dataset.skipped.count, 1);
  EXPECT_THAT(dataset.skipped.first[0], HasSubstr("data.jsonl record 2"));
}

TEST_F(DatasetTest, NothingToTrainOnAndBadOptionsAreErrors) {
  const auto data = folder_.write("data.tsv", "question\tanswer\n");
  EXPECT_THROW(load({.data = {}}), Error);
  EXPECT_THROW(load({.data = {data}, .validation_share = 1}), Error);
  EXPECT_THROW(load({.data = {data}, .max_length = 1}), Error);
  try {
    load({.data = {data}, .validation = {data}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nothing to train on (0 too long, 1 in the validation part"));
  }
  EXPECT_THROW(load_dataset({.data = {data}, .validation_share = 0}, tokenizer_, nullptr, 258), Error);
}

}  // namespace
}  // namespace retort
