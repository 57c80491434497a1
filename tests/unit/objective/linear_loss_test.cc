#include "objective/fused/linear_loss.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "objective/fused/divergence.h"
#include "unit/objective/reference.h"

namespace retort {
namespace {

using reference::Case;
using reference::make_terms;
using reference::random_input;
using reference::relative_error;
using reference::Shape;

const std::vector<std::vector<Case>> kMixtures = {
    {{"cross_entropy"}},
    {{"cross_entropy", 0.7, 1, 0.1}},
    {{"forward_kl"}},
    {{"forward_kl", 0.5, 2.5}},
    {{"forward_kl", 0.9}, {"cross_entropy", 0.1}},
    {{"cross_entropy", 0.3}, {"forward_kl", 0.7, 4}},
    {{"reverse_kl", 0.8, 2}},
    {{"generalized_jsd", 1, 1.5, 0, {{"beta", 0.3}}}},
    {{"generalized_jsd", 1, 2, 0, {{"beta", 0}}}},
    {{"generalized_jsd", 1, 1, 0, {{"beta", 1}}}},
    {{"skewed_kl", 0.7, 1, 0, {{"skew", 0.2}}}},
    {{"skewed_kl", 1, 3, 0, {{"direction", "reverse"}}}},
    {{"skewed_kl", 1, 2, 0, {{"skew", 0}}}},
    {{"logit_mse"}},
    {{"logit_mse", 2, 1, 0, {{"centered", true}}}},
    {{"forward_kl", 0.3, 4}, {"reverse_kl", 0.3}, {"generalized_jsd", 0.2, 2}, {"cross_entropy", 0.2}},
};

TEST(FusedLinearLoss, ValuesAndGradientsEqualTheDenseFormula) {
  for (const auto& cases : kMixtures) {
    LinearLossInput in = random_input({});
    auto terms = make_terms(cases);
    const auto expected = reference::dense(in, cases, 301);
    const LinearLossOutput got = fused_linear_loss(in, terms, 7);
    EXPECT_NEAR(got.total.item<double>() / expected.total, 1, 1e-6);
    got.total.backward();
    EXPECT_LT(relative_error(in.student_hidden.grad(), expected.hidden_gradient), reference::kRounding);
    EXPECT_LT(relative_error(in.student_head.grad(), expected.head_gradient), reference::kRounding);
    double sum = 0;
    for (std::size_t k = 0; k < terms.size(); ++k) sum += cases[k].lambda * got.term_sums[k].item<double>();
    EXPECT_NEAR(sum, expected.total, 1e-5 * expected.total);
    EXPECT_EQ(got.values.sizes(), (std::vector<std::int64_t>{static_cast<std::int64_t>(terms.size()), 23}));
  }
}

TEST(FusedLinearLoss, TheChunkDoesNotChangeTheTotal) {
  for (const auto& cases : kMixtures) {
    SCOPED_TRACE(cases.front().term + cases.front().options().dump());
    auto terms = make_terms(cases);
    const auto run = [&](std::int64_t chunk_rows) {
      LinearLossInput in =
          random_input({.targets = 257, .vocab = 5003, .student_vocab = 5003, .teacher_vocab = 5003});
      const LinearLossOutput out = fused_linear_loss(in, terms, chunk_rows);
      out.total.backward();
      return std::tuple(out.total.item<double>(), in.student_hidden.grad(), in.student_head.grad());
    };
    const auto [total, hidden, head] = run(0);
    for (const std::int64_t rows : {1, 5, 64, 256, 257, 1000}) {
      const auto [other_total, other_hidden, other_head] = run(rows);
      EXPECT_NEAR(other_total / total, 1, 1e-6) << rows;
      EXPECT_LT(relative_error(other_hidden, hidden), 1e-5) << rows;
      EXPECT_LT(relative_error(other_head, head), 1e-5) << rows;
    }
  }
}

// The teacher's padding gets no probability; the student learns that its own gets none, by the terms that
// count it.
TEST(FusedLinearLoss, PaddingIsNeverAToken) {
  for (const auto& cases : kMixtures) {
    SCOPED_TRACE(cases.front().term + cases.front().options().dump());
    auto terms = make_terms(cases);
    const bool counts_padding = std::any_of(cases.begin(), cases.end(), reference::counts_padding);
    for (const std::int64_t real : {0, 290}) {
      LinearLossInput in = random_input({.vocab = 290, .student_vocab = 320, .teacher_vocab = 304});
      in.real_vocab = real;
      const std::int64_t common = real ? real : 304;
      const auto expected = reference::dense(in, cases, common);
      const LinearLossOutput got = fused_linear_loss(in, terms, 10);
      got.total.backward();
      EXPECT_NEAR(got.total.item<double>() / expected.total, 1, 1e-6);
      EXPECT_LT(relative_error(in.student_hidden.grad(), expected.hidden_gradient), reference::kRounding);
      EXPECT_LT(relative_error(in.student_head.grad(), expected.head_gradient), reference::kRounding);
      const float least = in.student_head.grad().narrow(0, common, 320 - common).abs().min().item<float>();
      EXPECT_EQ(least > 0, counts_padding);
    }
  }
}

TEST(FusedLinearLoss, StudentEqualToTeacherGivesZero) {
  for (const auto& cases : kMixtures) {
    if (cases.front().term == "cross_entropy" || cases.size() > 1) continue;
    SCOPED_TRACE(cases.front().term + cases.front().options().dump());
    LinearLossInput in = random_input({});
    in.teacher_hidden = in.student_hidden.detach();
    in.teacher_head = in.student_head.detach();
    auto terms = make_terms(cases);
    const LinearLossOutput got = fused_linear_loss(in, terms, 8);
    got.total.backward();
    EXPECT_EQ(got.total.item<float>(), 0);
    EXPECT_EQ(in.student_hidden.grad().abs().max().item<float>(), 0);
    EXPECT_EQ(in.student_head.grad().abs().max().item<float>(), 0);
  }
}

// What TRL 1.16's generalized_jsd_loss gives, run in fp64 with reduction "sum" on these logits: the total and
// Σ |∂/∂z|. TRL leaves out the factor τ².
TEST(GeneralizedJsd, EqualsTrl) {
  struct Row {
    double beta, temperature, total, gradient;
  };
  const at::Tensor i = at::arange(3, at::kDouble).unsqueeze(1), v = at::arange(16, at::kDouble).unsqueeze(0);
  LogitChunk chunk;
  chunk.student = (3 * (1 + 7 * i + 0.9 * v).sin()).to(at::kFloat);
  chunk.teacher = (3 * (2 + 5 * i + 1.3 * v).cos()).to(at::kFloat);
  chunk.weights = at::ones({3});
  for (const Row& row :
       {Row{0, 1, 7.048292829257, 3.994162231946}, Row{0, 2, 2.608902924927, 1.436856988796},
        Row{0.1, 1, 0.465211828161, 0.208719412391}, Row{0.1, 2, 0.216241540724, 0.110469042561},
        Row{0.5, 1, 1.058710476740, 0.504867319110}, Row{0.5, 2, 0.543807022674, 0.264326958541},
        Row{0.9, 1, 0.458122438855, 0.264627060425}, Row{0.9, 2, 0.215431416938, 0.116061880233},
        Row{1, 1, 7.185349683536, 6.244606816330}, Row{1, 2, 2.610330843122, 1.580634519714}}) {
    SCOPED_TRACE(testing::Message() << "beta " << row.beta << " temperature " << row.temperature);
    const auto terms = make_terms({{"generalized_jsd", 1, row.temperature, 0, {{"beta", row.beta}}}});
    const at::Tensor gradient = at::zeros({3, 16});
    const double square = row.temperature * row.temperature;
    EXPECT_NEAR(terms[0].term->chunk(chunk, 1, gradient).sum().item<double>(), square * row.total,
                2e-6 * square * row.total);
    EXPECT_NEAR(gradient.abs().sum().item<double>(), square * row.gradient, 3e-6 * square * row.gradient);
  }
}

// What other devices run, here on the CPU.
TEST(Divergence, TensorsGiveWhatKernelsGive) {
  torch::manual_seed(3);
  const at::Tensor student = at::randn({5, 700}, at::kDouble) * 4,
                   teacher = at::randn({5, 700}, at::kDouble) * 4;
  const at::Tensor weights = at::rand({5}, at::kDouble);
  for (const Divergence& d : {Divergence{0, 0.7, 0}, Divergence{1, 0, 1.5}, Divergence{0.3, 0.3, 0.7},
                              Divergence{0.1, 1, 0}, Divergence{0.9, 0, 1}}) {
    SCOPED_TRACE(testing::Message() << d.mixture << " " << d.teacher_share << " " << d.student_share);
    const at::Tensor z = student.clone().requires_grad_();
    const at::Tensor log_s = z.log_softmax(1), log_t = teacher.log_softmax(1);
    const at::Tensor log_m = (d.mixture * log_t.exp() + (1 - d.mixture) * log_s.exp()).log();
    at::Tensor exact = at::zeros({5}, at::kDouble);
    if (d.teacher_share > 0) exact = exact + d.teacher_share * reference::kl(log_t, log_m);
    if (d.student_share > 0) exact = exact + d.student_share * reference::kl(log_s, log_m);
    exact.backward(weights);
    const at::Tensor gradient = at::zeros({5, 700}), f_s = log_s.detach().to(at::kFloat);
    const at::Tensor value = divergence_rows(d, f_s, log_t.to(at::kFloat), weights.to(at::kFloat), gradient);
    EXPECT_LT(relative_error(value, exact.detach()), 2e-6);
    EXPECT_LT(relative_error(gradient, z.grad()), reference::kRounding);
    gradient.zero_();
    EXPECT_EQ(divergence_rows(d, f_s, f_s, weights.to(at::kFloat), gradient).abs().max().item<float>(), 0);
    EXPECT_EQ(gradient.abs().max().item<float>(), 0);

    LogitChunk chunk;
    chunk.student = student.to(at::kFloat);
    chunk.teacher = teacher.to(at::kFloat);
    chunk.weights = weights.to(at::kFloat);
    EXPECT_LT(relative_error(divergence_chunk(d, 1, chunk, 1, gradient), value), reference::kRounding);
    EXPECT_LT(relative_error(gradient, z.grad()), reference::kRounding);
  }
}

TEST(FusedLinearLoss, WithoutGradientsGivesTheSameValues) {
  auto terms = make_terms(kMixtures[4]);
  const LinearLossInput in = random_input({});
  const float with = fused_linear_loss(in, terms).total.item<float>();
  const at::NoGradGuard no_grad;
  const LinearLossOutput without = fused_linear_loss(in, terms);
  EXPECT_FALSE(without.total.requires_grad());
  EXPECT_EQ(without.total.item<float>(), with);
}

TEST(FusedLinearLoss, OnlyTheWantedGradientIsMade) {
  auto terms = make_terms(kMixtures[4]);
  LinearLossInput in = random_input({});
  const auto expected = reference::dense(in, kMixtures[4], 301);
  in.student_head = in.student_head.detach();
  fused_linear_loss(in, terms).total.backward();
  EXPECT_LT(relative_error(in.student_hidden.grad(), expected.hidden_gradient), reference::kRounding);
  in.student_hidden = in.student_hidden.detach();
  in.student_head.requires_grad_();
  fused_linear_loss(in, terms).total.backward();
  EXPECT_LT(relative_error(in.student_head.grad(), expected.head_gradient), reference::kRounding);
}

TEST(FusedLinearLoss, GradientsAreScaledByWhatFollows) {
  auto terms = make_terms(kMixtures[4]);
  LinearLossInput in = random_input({});
  const auto expected = reference::dense(in, kMixtures[4], 301);
  (fused_linear_loss(in, terms).total * -0.25).backward();
  EXPECT_LT(relative_error(in.student_head.grad(), expected.head_gradient * -0.25), reference::kRounding);
  EXPECT_LT(relative_error(in.student_hidden.grad(), expected.hidden_gradient * -0.25), reference::kRounding);
}

TEST(FusedLinearLoss, PaddedTargetsOfWeightZeroChangeNothing) {
  auto terms = make_terms(kMixtures[4]);
  LinearLossInput in = random_input({});
  const auto expected = reference::dense(in, kMixtures[4], 301);
  in.student_hidden = at::cat({in.student_hidden.detach(), at::randn({5, 24})}).requires_grad_();
  in.teacher_hidden = at::cat({in.teacher_hidden, at::randn({5, 40})});
  in.labels = at::cat({in.labels, at::zeros({5}, at::kLong)});
  in.weights = at::cat({in.weights, at::zeros({5})});
  const LinearLossOutput got = fused_linear_loss(in, terms, 6);
  got.total.backward();
  EXPECT_NEAR(got.total.item<double>() / expected.total, 1, 1e-6);
  EXPECT_LT(relative_error(in.student_hidden.grad().narrow(0, 0, 23), expected.hidden_gradient),
            reference::kRounding);
  EXPECT_EQ(in.student_hidden.grad().narrow(0, 23, 5).abs().max().item<float>(), 0);
}

TEST(FusedLinearLoss, NoTargetsGiveZero) {
  auto terms = make_terms(kMixtures[4]);
  LinearLossInput in = random_input({});
  in.student_hidden = in.student_hidden.detach().narrow(0, 0, 0).requires_grad_();
  in.teacher_hidden = in.teacher_hidden.narrow(0, 0, 0);
  in.labels = in.labels.narrow(0, 0, 0);
  in.weights = in.weights.narrow(0, 0, 0);
  const LinearLossOutput got = fused_linear_loss(in, terms);
  got.total.backward();
  EXPECT_EQ(got.total.item<float>(), 0);
  EXPECT_EQ(in.student_head.grad().abs().max().item<float>(), 0);
}

// No further from the fp64 formula than PyTorch's own way in that dtype: logits in it, softmax and loss in
// fp32.
TEST(FusedLinearLoss, LowPrecisionIsNoWorseThanTheDenseWay) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    auto terms = make_terms(kMixtures[4]);
    const Shape shape{.targets = 513, .vocab = 2001, .student_vocab = 2001, .teacher_vocab = 2001};
    LinearLossInput in = random_input(shape, dtype), dense = random_input(shape, dtype);
    const auto exact = reference::dense(in, kMixtures[4], 2001);
    const auto logits = [&](const at::Tensor& hidden, const at::Tensor& head) {
      return hidden.mm(head.t()).to(at::kFloat);
    };
    const at::Tensor student = logits(dense.student_hidden, dense.student_head);
    const at::Tensor teacher = logits(dense.teacher_hidden, dense.teacher_head);
    at::Tensor dense_total = at::zeros({});
    for (const Case& c : kMixtures[4])
      dense_total =
          dense_total +
          c.lambda *
              reference::term_values(c, student, teacher, dense.labels, student.size(1)).dot(dense.weights);
    dense_total.backward();

    const LinearLossOutput got = fused_linear_loss(in, terms, 100);
    got.total.backward();
    EXPECT_EQ(in.student_head.grad().scalar_type(), dtype);
    const auto total_error = [&](const at::Tensor& total) {
      return std::abs(total.item<double>() / exact.total - 1);
    };
    EXPECT_LE(total_error(got.total), 1.05 * total_error(dense_total) + 1e-6);
    EXPECT_LE(relative_error(in.student_hidden.grad(), exact.hidden_gradient),
              1.05 * relative_error(dense.student_hidden.grad(), exact.hidden_gradient));
    EXPECT_LE(relative_error(in.student_head.grad(), exact.head_gradient),
              1.05 * relative_error(dense.student_head.grad(), exact.head_gradient));
  }
}

TEST(FusedLinearLoss, RefusesWhatDoesNotFit) {
  auto terms = make_terms(kMixtures[4]);
  LinearLossInput in = random_input({});
  in.labels[4] = 301;
  EXPECT_THROW(fused_linear_loss(in, terms), Error);
  in = random_input({});
  in.labels[4] = -100;
  EXPECT_THROW(fused_linear_loss(in, terms), Error);
  in = random_input({});
  in.teacher_hidden = at::Tensor();
  EXPECT_THROW(fused_linear_loss(in, terms), Error);
  in = random_input({});
  in.real_vocab = 302;
  EXPECT_THROW(fused_linear_loss(in, terms), Error);
  in = random_input({});
  in.weights = in.weights.narrow(0, 0, 3);
  EXPECT_THROW(fused_linear_loss(in, terms), Error);
}

TEST(FusedLinearLoss, BackwardTwiceIsRefused) {
  auto terms = make_terms(kMixtures[0]);
  const LinearLossInput in = random_input({});
  const at::Tensor total = fused_linear_loss(in, terms).total;
  total.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(total.backward(), std::exception);
}

}  // namespace
}  // namespace retort
