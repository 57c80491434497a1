// Batches that the student writes: what they hold, that they repeat, and which losses read them.
#include "training/on_policy.h"

#include <gtest/gtest.h>

#include "objective/objective.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

// Endless batches of two examples: prompts of 4 and 6 tokens, answers of 5.
class Prompts : public BatchSource {
 public:
  std::optional<Batch> next() override {
    Batch batch;
    for (const int prompt : {4, 6}) {
      Example example;
      example.tokens = random_tokens(prompt + 5, ++place_, 60);
      for (int i = 0; i < prompt + 5; ++i) example.is_target.push_back(i >= prompt);
      example.id = place_;
      example.weight = 0.5f * static_cast<float>(prompt);
      batch.append(example);
    }
    return batch;
  }
  Json state() const override { return place_; }
  void restore(const Json& state) override { place_ = state.get<std::uint64_t>(); }

 private:
  std::uint64_t place_ = 0;
};

CausalLM student_with_end(TokenId end) {
  ModelConfig config = tiny_llama();
  config.eos_token_ids = {end};
  CausalLM student(std::move(config), at::kCPU, at::kFloat, 1);
  student.set_requires_grad(true);
  return student;
}

std::unique_ptr<BatchSource> source_of(const CausalLM& student, const OnPolicyOptions& options,
                                       std::int64_t batch_tokens = 256) {
  return write_on_policy(std::make_unique<Prompts>(), student, options, batch_tokens, 7);
}

// The likeliest next token after tokens[0 … n), by a pass over all of them.
TokenId next_token(const CausalLM& student, std::vector<TokenId> tokens) {
  const at::NoGradGuard no_grad;
  const Batch batch = make_batch({std::move(tokens)});
  const ModelOutput output = student.forward(upload(batch, at::kCPU));
  return static_cast<TokenId>(
      student.logits(output.hidden.slice(0, batch.size() - 1)).argmax(1).item<std::int64_t>());
}

TEST(OnPolicy, HoldsThePromptsAndWhatTheStudentSays) {
  const CausalLM student = student_with_end(66);
  const auto source = source_of(student, {.share = 1, .sampling = {.max_tokens = 9, .temperature = 0}});
  Prompts data;
  const Batch given = *data.next(), written = *source->next();
  EXPECT_TRUE(written.by_student);
  EXPECT_FALSE(given.by_student);
  ASSERT_EQ(written.sequence_count(), 2);
  EXPECT_EQ(written.example_ids, given.example_ids);
  for (std::size_t s = 0; s < 2; ++s) {
    const std::size_t prompt = s == 0 ? 4 : 6;
    const auto begin = static_cast<std::size_t>(written.sequence_starts[s]),
               end = static_cast<std::size_t>(written.sequence_starts[s + 1]);
    const auto from = static_cast<std::size_t>(given.sequence_starts[s]);
    for (std::size_t i = 0; i < prompt; ++i) EXPECT_EQ(written.tokens[begin + i], given.tokens[from + i]);
    std::vector<TokenId> text(written.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                              written.tokens.begin() + static_cast<std::ptrdiff_t>(begin + prompt));
    for (std::size_t i = begin + prompt; i < end; ++i) {
      EXPECT_EQ(written.tokens[i], next_token(student, text));
      EXPECT_EQ(written.targets[i - 1], written.tokens[i]);
      EXPECT_EQ(written.weights[i - 1], 0.5f * static_cast<float>(prompt));
      text.push_back(written.tokens[i]);
    }
    EXPECT_EQ(written.targets[begin + prompt - 2], kNoTarget);
    EXPECT_TRUE(text.size() == prompt + 9 || text.back() == 66);
  }
}

TEST(OnPolicy, KeepsTheEndToken) {
  const CausalLM plain = student_with_end(66);
  const Batch without =
      *source_of(plain, {.share = 1, .sampling = {.max_tokens = 9, .temperature = 0}})->next();
  const TokenId second = without.tokens[5];  // the second token of the first answer, made the end
  const CausalLM student = student_with_end(second);
  const Batch written =
      *source_of(student, {.share = 1, .sampling = {.max_tokens = 9, .temperature = 0}})->next();
  const std::int32_t end = written.sequence_starts[1];
  EXPECT_EQ(end, without.tokens[4] == second ? 5 : 6);
  EXPECT_EQ(written.tokens[static_cast<std::size_t>(end) - 1], second);
}

TEST(OnPolicy, TakesItsShareAndGoesOnFromItsState) {
  const CausalLM student = student_with_end(66);
  const OnPolicyOptions options{.share = 0.3, .sampling = {.max_tokens = 4, .temperature = 1}};
  const auto whole = source_of(student, options), first = source_of(student, options);
  std::vector<Batch> batches;
  int written = 0;
  for (int i = 0; i < 200; ++i) written += batches.emplace_back(*whole->next()).by_student;
  EXPECT_NEAR(written, 60, 20);
  for (int i = 0; i < 50; ++i) first->next();
  const auto second = source_of(student, options);
  second->restore(first->state());
  for (std::size_t i = 50; i < 200; ++i) {
    const Batch batch = *second->next();
    ASSERT_EQ(batch.by_student, batches[i].by_student);
    ASSERT_EQ(batch.tokens, batches[i].tokens);
  }
}

TEST(OnPolicy, LeavesOutWhatDoesNotFit) {
  const CausalLM student = student_with_end(66);
  const Batch written =
      *source_of(student, {.share = 1, .sampling = {.max_tokens = 9, .temperature = 1}}, 16)->next();
  EXPECT_LE(written.size(), 16);
  EXPECT_EQ(written.sequence_count(), 1);
}

TEST(OnPolicy, TheStudentsOwnWordsAreNoLabels) {
  CausalLM student = student_with_end(66), teacher = student_with_end(66);
  const auto source = source_of(student, {.share = 1, .sampling = {.max_tokens = 9, .temperature = 1}});
  Batch batch = *source->next();
  Objective objective = make_objective(
      parse_json(R"([{"name": "cross_entropy"}, {"name": "reverse_kl", "weight": 0.5}])", "test"), "terms");
  const auto terms_of = [&](bool by_student) {
    batch.by_student = by_student;
    const DeviceBatch here = upload(batch, at::kCPU);
    const ModelOutput output = student.forward(here), teacher_output = teacher.forward(here);
    std::vector<std::string> names;
    for (const NamedLoss& loss : objective
                                     .compute({.batch = here,
                            .student = student,
                            .student_output = output,
                            .teacher = &teacher,
                            .teacher_output = &teacher_output})
                                     .terms)
      names.push_back(loss.name);
    return names;
  };
  EXPECT_EQ(terms_of(true), (std::vector<std::string>{"reverse_kl"}));
  EXPECT_EQ(terms_of(false), (std::vector<std::string>{"reverse_kl", "cross_entropy"}));
}

}  // namespace
}  // namespace retort
