// The contract of every loss term, by the registry, and what a recipe's list may say.
#include "objective/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "objective/objective.h"
#include "unit/objective/reference.h"
#include "unit/objective/tiny_models.h"

namespace retort {
namespace {

using reference::Case;
using reference::random_input;
using reference::relative_error;

std::string error_of(const char* text) {
  try {
    make_objective(parse_json(text, "test"), "loss");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TermRegistry, EveryFileHasARow) {
  std::set<std::string> rows, files;
  for (const TermRow& row : term_registry()) rows.emplace(row.name);
  for (const auto& entry : std::filesystem::directory_iterator(RETORT_SOURCE_DIR "/src/objective/terms"))
    if (entry.path().extension() == ".cc") files.insert(entry.path().stem());
  EXPECT_EQ(rows, files);
  EXPECT_EQ(rows.size(), term_registry().size());
}

// Value and gradient against autograd in fp64, weights honoured, the same for any chunk, and zero for a
// student equal to its teacher where the teacher is all there is.
TEST(TermRegistry, EveryLogitTermKeepsTheContract) {
  for (const TermRow& row : term_registry()) {
    const auto* make = std::get_if<MakeLogitTerm>(&row.make);
    if (!make) continue;
    SCOPED_TRACE(row.name);
    std::vector<Weighted<LogitTerm>> terms;
    terms.push_back({(*make)(Json::object(), "test", {}), 0.6});
    EXPECT_EQ(terms[0].term->name(), row.name);
    const std::vector<Case> cases = {{std::string(row.name), 0.6}};
    LinearLossInput in = random_input({});
    const auto expected = reference::dense(in, cases, 301);
    const LinearLossOutput got = fused_linear_loss(in, terms, 5);
    got.total.backward();
    EXPECT_NEAR(got.total.item<double>() / expected.total, 1, 1e-6);
    EXPECT_LT(relative_error(in.student_hidden.grad(), expected.hidden_gradient), reference::kRounding);
    EXPECT_LT(relative_error(in.student_head.grad(), expected.head_gradient), reference::kRounding);
    EXPECT_NEAR(fused_linear_loss(in, terms, 1).total.item<double>() / expected.total, 1, 1e-6);
    // The first three weights are 0: their positions have no gradient.
    EXPECT_EQ(in.student_hidden.grad().narrow(0, 0, 3).abs().max().item<float>(), 0);
    if (terms[0].term->needs_teacher()) {
      in.teacher_hidden = in.student_hidden.detach();
      in.teacher_head = in.student_head.detach();
      in.student_hidden.mutable_grad().reset();
      const at::Tensor total = fused_linear_loss(in, terms).total;
      total.backward();
      EXPECT_EQ(total.item<float>(), 0);
      EXPECT_EQ(in.student_hidden.grad().abs().max().item<float>(), 0);
    }
  }
}

TEST(TermRegistry, EveryLogitTermRunsOnCuda) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  for (const TermRow& row : term_registry()) {
    const auto* make = std::get_if<MakeLogitTerm>(&row.make);
    if (!make) continue;
    SCOPED_TRACE(row.name);
    std::vector<Weighted<LogitTerm>> terms;
    terms.push_back({(*make)(Json::object(), "test", {}), 0.6});
    LinearLossInput in = random_input({});
    const auto expected = reference::dense(in, {{std::string(row.name), 0.6}}, 301);
    const auto leaf = [](const at::Tensor& t) { return t.detach().cuda().requires_grad_(); };
    in.student_hidden = leaf(in.student_hidden);
    in.student_head = leaf(in.student_head);
    for (at::Tensor* t : {&in.teacher_hidden, &in.teacher_head, &in.labels, &in.weights}) *t = t->cuda();
    const LinearLossOutput got = fused_linear_loss(in, terms, 5);
    got.total.backward();
    EXPECT_NEAR(got.total.item<double>() / expected.total, 1, 1e-5);
    EXPECT_LT(relative_error(in.student_hidden.grad().cpu(), expected.hidden_gradient), 1e-5);
    EXPECT_LT(relative_error(in.student_head.grad().cpu(), expected.head_gradient), 1e-5);
  }
}

TEST(MakeObjective, ReadsARecipesList) {
  Objective objective = make_objective(
      parse_json(
          R"([{"name": "forward_kl", "weight": 0.9, "temperature": 1}, {"name": "cross_entropy", "weight": 0.1}])",
          "test"),
      "loss");
  ASSERT_EQ(objective.logit_terms().size(), 2u);
  EXPECT_EQ(objective.logit_terms()[0].term->name(), "forward_kl");
  EXPECT_EQ(objective.logit_terms()[0].lambda, 0.9);
  EXPECT_EQ(objective.logit_terms()[1].lambda, 0.1);
}

TEST(MakeObjective, TellsTermsOfOneNameApart) {
  Objective objective = make_objective(
      parse_json(
          R"([{"name": "forward_kl"}, {"name": "forward_kl", "temperature": 2}, {"name": "forward_kl", "label": "hot"}])",
          "test"),
      "loss");
  std::vector<std::string> labels;
  for (const auto& [term, lambda] : objective.logit_terms()) labels.push_back(term->label());
  EXPECT_THAT(labels, testing::ElementsAre("forward_kl", "forward_kl_2", "hot"));
}

TEST(MakeObjective, NamesTheTeacherThatIsMissing) {
  const ModelConfig student = tiny_config(32, 64);
  for (const TermRow& row : term_registry()) {
    SCOPED_TRACE(row.name);
    if (row.name == "cross_entropy" || !row.needs_teacher) continue;
    try {
      make_objective(Json::array({{{"name", row.name}}}), "loss", {.student = &student});
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_THAT(error.what(), testing::HasSubstr("teacher"));
    }
  }
}

TEST(MakeObjective, NamesTheKeyThatIsWrong) {
  using testing::AllOf;
  using testing::HasSubstr;
  EXPECT_THAT(error_of(R"([{"name": "foward_kl"}])"),
              AllOf(HasSubstr("loss[0]: name"), HasSubstr("'forward_kl'")));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl"}, {"name": "cross_entropy", "temprature": 2}])"),
              AllOf(HasSubstr("loss[1]"), HasSubstr("temprature")));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "temprature": 2}])"),
              AllOf(HasSubstr("loss[0]"), HasSubstr("'temperature'")));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "weight": -1}])"),
              AllOf(HasSubstr("loss[0]: weight"), HasSubstr("-1")));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "weight": "much"}])"), HasSubstr("loss[0]: weight"));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "temperature": -2}])"), HasSubstr("loss[0]: temperature"));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "temperature": 0}])"), HasSubstr("loss[0]: temperature"));
  EXPECT_THAT(error_of(R"([{"name": "cross_entropy", "label_smoothing": 1}])"),
              HasSubstr("loss[0]: label_smoothing"));
  EXPECT_THAT(error_of(R"([{"name": "cross_entropy", "weight": 0}])"),
              AllOf(HasSubstr("loss: weight"), HasSubstr("sum to 0")));
  EXPECT_THAT(error_of(R"([{"name": "cross_entropy", "label": "a"}, {"name": "forward_kl", "label": "a"}])"),
              AllOf(HasSubstr("loss[1]: label"), HasSubstr("'a'")));
  EXPECT_THAT(error_of(R"([{"name": "forward_kl", "wieght": 1}])"),
              AllOf(HasSubstr("loss[0]"), HasSubstr("'weight'")));
  EXPECT_THAT(error_of(R"([{"name": "cross_entropy", "lable": "x"}])"), HasSubstr("'label'"));
  EXPECT_THAT(error_of(R"([{"name": "reverse_kl", "temperature": -1}])"), HasSubstr("loss[0]: temperature"));
  EXPECT_THAT(error_of(R"([{"name": "generalized_jsd", "temperature": -1}])"),
              HasSubstr("loss[0]: temperature"));
  EXPECT_THAT(error_of(R"([{"name": "generalized_jsd", "beta": 1.1}])"), HasSubstr("loss[0]: beta"));
  EXPECT_THAT(error_of(R"([{"name": "skewed_kl", "skew": 1}])"), HasSubstr("loss[0]: skew"));
  EXPECT_THAT(error_of(R"([{"name": "skewed_kl", "direction": "forwards"}])"),
              AllOf(HasSubstr("loss[0]: direction"), HasSubstr("'forward'")));
  EXPECT_THAT(error_of("[]"), HasSubstr("empty list"));
  EXPECT_THAT(error_of(R"({"name": "cross_entropy"})"), HasSubstr("list of loss terms"));
  EXPECT_THAT(error_of(R"(["cross_entropy"])"), HasSubstr("loss[0]: name"));
  EXPECT_THAT(error_of(R"([{"weight": 1}])"), HasSubstr("loss[0]: name"));
}

}  // namespace
}  // namespace retort
