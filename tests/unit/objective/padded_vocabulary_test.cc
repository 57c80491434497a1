// One tokenizer, heads padded to different sizes (as 151,936 and 152,064 rows for 151,669 tokens): models
// train on what both have, and the student learns that its padding is never a word.
#include <gtest/gtest.h>

#include "objective/objective.h"
#include "unit/objective/tiny_models.h"

namespace retort {
namespace {

constexpr int kSteps = 200;

// Some steps of gradient descent; the objective's values against fp64: the teacher over the first `vocab`
// columns, the student over all that its head has.
void check_training(std::int64_t student_rows, std::int64_t teacher_rows, std::int64_t real_vocab,
                    std::int64_t vocab) {
  CausalLM student(tiny_config(32, student_rows), at::kCPU, at::kFloat, 1);
  CausalLM teacher(tiny_config(48, teacher_rows), at::kCPU, at::kFloat, 2);
  student.set_requires_grad(true);
  const Batch host = make_batch();
  const DeviceBatch batch = upload(host, at::kCPU);
  Objective objective = make_objective(
      Json::array({{{"name", "forward_kl"}, {"weight", 0.9}}, {{"name", "cross_entropy"}, {"weight", 0.1}}}),
      "terms", {.student = &student.config(), .teacher = &teacher.config(), .real_vocab = real_vocab});
  const auto log_p = [&](const CausalLM& model, const ModelOutput& output, std::int64_t columns) {
    return output.target_rows(batch)
        .detach()
        .to(at::kDouble)
        .mm(model.head_weight().detach().to(at::kDouble).narrow(0, 0, columns).t())
        .log_softmax(1)
        .narrow(1, 0, vocab);
  };
  double first = 0, first_padding = 0;  // its padding's share of the student's probability
  for (int step = 0; step <= kSteps; ++step) {
    const at::NoGradGuard guard;
    const ModelOutput taught = teacher.forward(batch);
    at::GradMode::set_enabled(true);
    const ModelOutput output = student.forward(batch);
    const ObjectiveResult result = objective.compute({.batch = batch,
                                                      .student = student,
                                                      .student_output = output,
                                                      .teacher = &teacher,
                                                      .teacher_output = &taught});
    const at::Tensor s = log_p(student, output, student_rows), t = log_p(teacher, taught, vocab);
    const double padding = 1 - s.exp().sum(1).mean().item<double>();
    const at::Tensor values =
        0.9 * (t.exp() * (t - s)).sum(1) - 0.1 * s.gather(1, batch.labels.unsqueeze(1)).squeeze(1);
    const double expected = values.dot(batch.weights.to(at::kDouble)).item<double>();
    EXPECT_NEAR(result.total.sum.item<double>(), expected, 1e-5 * expected);
    if (step == 0) {
      first = expected;
      first_padding = padding;
    } else if (step == kSteps) {
      EXPECT_LT(expected, first);
      EXPECT_LE(padding, first_padding / 2);
    }
    result.total.sum.backward();
    at::GradMode::set_enabled(false);
    for (const Parameter& p : student.parameters()) {
      const at::Tensor gradient = p.tensor.grad();
      p.tensor.sub_(gradient, 4e-3);
      at::Tensor(p.tensor).mutable_grad().reset();
    }
  }
}

TEST(PaddedVocabulary, TrainsOnTheTokensThatBothHave) {
  check_training(64, 70, 61, 61);
  check_training(70, 64, 61, 61);
}

TEST(PaddedVocabulary, TakesTheCommonRowsWhereTheTokenizersSizeIsNotKnown) {
  check_training(64, 70, 0, 64);
  check_training(70, 64, 0, 64);
}

}  // namespace
}  // namespace retort
