// What the interface of terms must carry, shown by toy consumers on two tiny models: a feature loss with a
// learned projection, and recorded traces in place of a teacher.
#include <gtest/gtest.h>

#include <unordered_map>

#include "base/error.h"
#include "objective/objective.h"
#include "objective/terms/cross_entropy.h"
#include "objective/terms/forward_kl.h"
#include "unit/objective/tiny_models.h"

namespace retort {
namespace {

// Σ_i w_i · mean_h (projection · student hidden - teacher hidden)², between the first blocks' outputs.
class ProjectedHiddenMse : public Term {
 public:
  ProjectedHiddenMse(const TermContext& context, bool wrong_weight = false)
      : projection_(
            at::full({context.teacher->hidden_size, context.student->hidden_size}, 0.01).requires_grad_()),
        wrong_weight_(wrong_weight) {}
  std::string name() const override { return "projected_hidden_mse"; }
  Taps student_taps() const override { return {.hidden = {0}, .attention = {}}; }
  Taps teacher_taps() const override { return {.hidden = {1}, .attention = {}}; }
  std::vector<Parameter> parameters() override { return {{"hidden_projection.weight", projection_}}; }
  LossSum compute(const StepView& view) override {
    const at::Tensor& index = view.batch.target_index;
    const at::Tensor student =
        view.student_output.hidden_taps.at(0).index_select(0, index).mm(projection_.t());
    const at::Tensor teacher = view.teacher_output->hidden_taps.at(1).index_select(0, index);
    const at::Tensor values = (student - teacher).square().mean(1);
    return {values.dot(view.batch.weights), view.batch.weight_sum + wrong_weight_};
  }

 private:
  at::Tensor projection_;
  bool wrong_weight_;
};

// Recorded per example: for each of its targets, the k likeliest tokens and their log-probabilities.
struct Trace {
  at::Tensor tokens;           // int64 [targets of the example, k]
  at::Tensor log_probability;  // fp32
};
using TraceStore = std::unordered_map<std::uint64_t, Trace>;

// Forward KL over k + 1 outcomes: the recorded tokens, and all others as one.
class TraceKl : public LogitTerm {
 public:
  explicit TraceKl(const TraceStore& store) : store_(store) {}
  std::string name() const override { return "trace_kl"; }
  bool needs_teacher() const override { return false; }

  // The traces of the micro-batch's targets, in the order of DeviceBatch::target_index.
  void prepare(const StepView& view) override {
    const Batch& batch = *view.batch.host;
    std::vector<at::Tensor> tokens, log_probability;
    for (const std::uint64_t id : batch.example_ids) {
      tokens.push_back(store_.at(id).tokens);
      log_probability.push_back(store_.at(id).log_probability);
    }
    tokens_ = at::cat(tokens);
    log_probability_ = at::cat(log_probability);
    ASSERT_EQ(tokens_.size(0), view.batch.target_index.size(0));
  }

  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    const std::int64_t rows = chunk.student.size(0);
    const at::Tensor tokens = tokens_.narrow(0, chunk.first, rows),
                     log_t = log_probability_.narrow(0, chunk.first, rows);
    const at::AutoGradMode with_graph(gradient.defined());
    const at::Tensor z = chunk.student.detach().requires_grad_(gradient.defined());
    const at::Tensor log_s = z.log_softmax(1).gather(1, tokens);
    const at::Tensor p_t = log_t.exp();
    const at::Tensor tail_t = (1 - p_t.sum(1)).clamp_min(1e-7),
                     tail_s = (1 - log_s.exp().sum(1)).clamp_min(1e-7);
    const at::Tensor values = (p_t * (log_t - log_s)).sum(1) + tail_t * (tail_t.log() - tail_s.log());
    if (gradient.defined()) {
      values.backward(chunk.weights * lambda);
      gradient.add_(z.grad());
    }
    return values.detach();
  }

 private:
  const TraceStore& store_;
  at::Tensor tokens_, log_probability_;
};

TraceStore record(Models& models, std::int64_t k) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden =
      models.teacher.forward(models.batch).hidden.index_select(0, models.batch.target_index);
  const auto [log_probability, tokens] =
      hidden.mm(models.teacher.head_weight().t()).narrow(1, 0, 64).log_softmax(1).topk(k, 1);
  TraceStore store;
  std::int64_t first = 0;
  for (std::size_t s = 0; s < models.host.example_ids.size(); ++s) {
    std::int64_t count = 0;
    for (auto i = models.host.sequence_starts[s]; i < models.host.sequence_starts[s + 1]; ++i)
      count += models.host.targets[static_cast<std::size_t>(i)] != kNoTarget;
    store[models.host.example_ids[s]] = {tokens.narrow(0, first, count),
                                         log_probability.narrow(0, first, count)};
    first += count;
  }
  return store;
}

template <class T, class... More>
std::vector<Weighted<LogitTerm>> logit_terms(T first, More... more) {
  std::vector<Weighted<LogitTerm>> terms;
  terms.push_back(std::move(first));
  (terms.push_back(std::move(more)), ...);
  return terms;
}

double squared_norm(const std::vector<Parameter>& parameters) {
  double sum = 0;
  for (const Parameter& p : parameters)
    if (p.tensor.grad().defined()) sum += p.tensor.grad().square().sum().item<double>();
  return sum;
}

TEST(ObjectiveContract, LogitTermsSumByWeightAndKeepTheirNames) {
  Models models;
  Objective objective(logit_terms(Weighted<LogitTerm>{std::make_unique<ForwardKl>(), 0.9},
                                  Weighted<LogitTerm>{std::make_unique<CrossEntropy>(), 0.1}),
                      {}, 64);
  EXPECT_TRUE(objective.needs_teacher());
  const ObjectiveResult result = objective.compute(models.view());
  ASSERT_EQ(result.terms.size(), 2u);
  EXPECT_EQ(result.terms[0].name, "forward_kl");
  EXPECT_EQ(result.terms[1].name, "cross_entropy");
  EXPECT_DOUBLE_EQ(result.total.weight, models.batch.weight_sum);
  EXPECT_NEAR(result.total.sum.item<double>(),
              0.9 * result.terms[0].sum.item<double>() + 0.1 * result.terms[1].sum.item<double>(), 1e-4);
  result.total.sum.backward();
  EXPECT_GT(squared_norm(models.student.parameters()), 0);
  EXPECT_EQ(squared_norm(models.teacher.parameters()), 0);

  // A schedule changes λ between steps.
  objective.logit_terms()[0].lambda = 0;
  const ObjectiveResult later = objective.compute(models.view());
  EXPECT_NEAR(later.total.sum.item<double>(), 0.1 * result.terms[1].sum.item<double>(), 1e-4);

  const at::NoGradGuard no_grad;
  EXPECT_FALSE(objective.compute(models.view()).total.sum.requires_grad());
}

TEST(ObjectiveContract, AFeatureTermWithALearnedProjection) {
  Models models;
  const TermContext context{.student = &models.student.config(), .teacher = &models.teacher.config()};
  std::vector<Weighted<Term>> terms;
  terms.push_back({std::make_unique<ProjectedHiddenMse>(context), 0.5});
  Objective objective(logit_terms(Weighted<LogitTerm>{std::make_unique<CrossEntropy>(), 1}),
                      std::move(terms));
  EXPECT_TRUE(objective.needs_teacher());
  ASSERT_EQ(objective.parameters().size(), 1u);
  EXPECT_EQ(objective.parameters()[0].name, "hidden_projection.weight");

  const StepView view = models.view(objective.student_taps(), objective.teacher_taps());
  const ObjectiveResult result = objective.compute(view);
  ASSERT_EQ(result.terms.size(), 2u);
  EXPECT_EQ(result.terms[1].name, "projected_hidden_mse");
  EXPECT_NEAR(result.total.sum.item<double>(),
              result.terms[0].sum.item<double>() + 0.5 * result.terms[1].sum.item<double>(), 1e-4);
  result.total.sum.backward();

  // ∂/∂P of λ Σ w mean_h (P s - t)² = λ Σ w 2/H (P s - t) sᵀ
  const at::Tensor& index = models.batch.target_index;
  const at::Tensor s = models.student_output.hidden_taps.at(0).detach().index_select(0, index);
  const at::Tensor t = models.teacher_output.hidden_taps.at(1).index_select(0, index);
  const at::Tensor projection = objective.parameters()[0].tensor;
  const at::Tensor difference = (s.mm(projection.detach().t()) - t) * models.batch.weights.unsqueeze(1);
  const at::Tensor expected = difference.t().mm(s) * (0.5 * 2 / 48);
  EXPECT_LT((projection.grad() - expected).abs().max().item<float>(),
            1e-4 * expected.abs().max().item<float>());
}

TEST(ObjectiveContract, AFeatureTermMustShareTheBatchsWeight) {
  Models models;
  const TermContext context{.student = &models.student.config(), .teacher = &models.teacher.config()};
  std::vector<Weighted<Term>> terms;
  terms.push_back({std::make_unique<ProjectedHiddenMse>(context, /*wrong_weight=*/true), 1});
  Objective objective({}, std::move(terms));
  EXPECT_THROW(objective.compute(models.view(objective.student_taps(), objective.teacher_taps())), Error);
}

TEST(ObjectiveContract, AMissingTeacherIsNamed) {
  Models models;
  Objective objective(logit_terms(Weighted<LogitTerm>{std::make_unique<ForwardKl>(), 1}), {});
  StepView view = models.view();
  const StepView alone{.batch = view.batch, .student = view.student, .student_output = view.student_output};
  EXPECT_THROW(objective.compute(alone), Error);
}

TEST(ObjectiveContract, CompleteTracesTeachWhatTheTeacherTeaches) {
  Models live_models, traced_models;
  const TraceStore store = record(traced_models, 64);
  Objective live(logit_terms(Weighted<LogitTerm>{std::make_unique<ForwardKl>(), 0.7}), {}, 64);
  Objective traced(logit_terms(Weighted<LogitTerm>{std::make_unique<TraceKl>(store), 0.7}), {}, 64);
  EXPECT_FALSE(traced.needs_teacher());
  const ObjectiveResult expected = live.compute(live_models.view());
  StepView view = traced_models.view();
  const StepView alone{.batch = view.batch, .student = view.student, .student_output = view.student_output};
  const ObjectiveResult got = traced.compute(alone);
  EXPECT_NEAR(got.total.sum.item<double>() / expected.total.sum.item<double>(), 1, 1e-5);
  expected.total.sum.backward();
  got.total.sum.backward();
  const at::Tensor a = traced_models.student.head_weight().grad(),
                   b = live_models.student.head_weight().grad();
  EXPECT_LT((a - b).abs().max().item<float>(), 1e-4 * b.abs().max().item<float>());
}

TEST(ObjectiveContract, SparseTracesGiveALowerBound) {
  Models models;
  const TraceStore store = record(models, 5);
  Objective objective(logit_terms(Weighted<LogitTerm>{std::make_unique<ForwardKl>(), 1},
                                  Weighted<LogitTerm>{std::make_unique<TraceKl>(store), 1}),
                      {}, 64);
  const ObjectiveResult result = objective.compute(models.view());
  const double full = result.terms[0].sum.item<double>(), sparse = result.terms[1].sum.item<double>();
  EXPECT_GT(sparse, 0);
  EXPECT_LT(sparse, full);
}

}  // namespace
}  // namespace retort
