// What the fused head must equal: the dense formulas in fp64 with autograd, term by term, by the names of the
// registry.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "objective/fused/linear_loss.h"
#include "objective/registry.h"

namespace retort::reference {

// Relative, of gradients and values in fp32. Sanitizers make the kernels' loops run in one lane and each product
// and sum round by itself (as -fno-tree-vectorize -ffp-contract=off does, to the same digits): up to 7e-6.
#if defined(__SANITIZE_ADDRESS__)
constexpr double kRounding = 1e-5;
#else
constexpr double kRounding = 3e-6;
#endif

struct Case {
  std::string term;
  double lambda = 1, temperature = 1, label_smoothing = 0;
  Json more = Json::object();  // options beside temperature and label_smoothing

  Json options() const {
    Json all = more;
    if (temperature != 1) all["temperature"] = temperature;
    if (label_smoothing != 0) all["label_smoothing"] = label_smoothing;
    return all;
  }
};

inline std::vector<Weighted<LogitTerm>> make_terms(const std::vector<Case>& cases) {
  std::vector<Weighted<LogitTerm>> terms;
  for (const Case& c : cases)
    for (const TermRow& row : term_registry())
      if (row.name == c.term)
        terms.push_back({std::get<MakeLogitTerm>(row.make)(c.options(), "test", {}), c.lambda});
  return terms;
}

inline at::Tensor kl(const at::Tensor& log_p, const at::Tensor& log_q) {
  return (log_p.exp() * (log_p - log_q)).sum(1);
}

// TRL's GKDTrainer.generalized_jsd_loss, from its definition.
inline at::Tensor generalized_jsd(double beta, const at::Tensor& log_s, const at::Tensor& log_t) {
  if (beta == 0) return kl(log_t, log_s);
  if (beta == 1) return kl(log_s, log_t);
  const at::Tensor log_m = at::logsumexp(at::stack({log_s + std::log(1 - beta), log_t + std::log(beta)}), 0);
  return beta * kl(log_t, log_m) + (1 - beta) * kl(log_s, log_m);
}

// Whether a term asks for the probability that the student's whole head gives to a token: cross entropy and
// forward KL, by whatever name.
inline bool counts_padding(const Case& c) {
  return c.term == "cross_entropy" || c.term == "forward_kl" ||
         (c.term == "generalized_jsd" && c.more.value("beta", 0.5) == 0) ||
         (c.term == "skewed_kl" && c.more.value("skew", 0.1) == 0 &&
          c.more.value("direction", "forward") == "forward");
}

// term_i for logits fp64 [T, V] of which the student may have more, of its padding.
inline at::Tensor term_values(const Case& c, const at::Tensor& all, const at::Tensor& teacher,
                              const at::Tensor& labels, std::int64_t vocab) {
  const double tau = c.temperature;
  const at::Tensor student = all.narrow(1, 0, vocab);
  const at::Tensor log_s =
      counts_padding(c) ? (all / tau).log_softmax(1).narrow(1, 0, vocab) : (student / tau).log_softmax(1);
  if (c.term == "cross_entropy")
    return -(1 - c.label_smoothing) * log_s.gather(1, labels.unsqueeze(1)).squeeze(1) -
           c.label_smoothing * log_s.mean(1);
  const at::Tensor log_t = (teacher / tau).log_softmax(1);
  if (c.term == "forward_kl") return tau * tau * kl(log_t, log_s);
  if (c.term == "reverse_kl") return tau * tau * kl(log_s, log_t);
  if (c.term == "generalized_jsd")
    return tau * tau * generalized_jsd(c.more.value("beta", 0.5), log_s, log_t);
  if (c.term == "skewed_kl") {
    const double skew = c.more.value("skew", 0.1);
    const bool reverse = c.more.value("direction", "forward") == "reverse";
    const at::Tensor first = reverse ? log_s : log_t, second = reverse ? log_t : log_s;
    return tau * tau * kl(first, (skew * first.exp() + (1 - skew) * second.exp()).log());
  }
  if (c.term == "logit_mse") {
    at::Tensor difference = student - teacher;
    if (c.more.value("centered", false)) difference = difference - difference.mean(1, true);
    return difference.square().mean(1);
  }
  throw std::runtime_error("no reference formula for loss term " + c.term + ": add it here");
}

struct Result {
  double total = 0;
  at::Tensor hidden_gradient, head_gradient;  // fp64
};

inline Result dense(const LinearLossInput& in, const std::vector<Case>& cases, std::int64_t vocab) {
  const auto leaf = [](const at::Tensor& t) { return t.detach().to(at::kDouble).requires_grad_(); };
  const at::Tensor hidden = leaf(in.student_hidden), head = leaf(in.student_head);
  const at::Tensor student = hidden.mm(head.t());
  at::Tensor teacher;
  if (in.teacher_hidden.defined())
    teacher = in.teacher_hidden.to(at::kDouble).mm(in.teacher_head.to(at::kDouble).narrow(0, 0, vocab).t());
  at::Tensor total = at::zeros({}, at::kDouble);
  for (const Case& c : cases)
    total =
        total +
        c.lambda * (in.weights.to(at::kDouble) * term_values(c, student, teacher, in.labels, vocab)).sum();
  total.backward();
  return {total.item<double>(), hidden.grad(), head.grad()};
}

struct Shape {
  std::int64_t targets = 23, vocab = 301, student_vocab = 301, teacher_vocab = 301, student_hidden = 24,
               teacher_hidden = 40;
};

// Random data with logits of a spread of about 3, weights from 0 to 2.
inline LinearLossInput random_input(const Shape& s, at::ScalarType dtype = at::kFloat) {
  torch::manual_seed(7);
  LinearLossInput in;
  const auto normal = [&](std::int64_t rows, std::int64_t columns, double scale) {
    return (at::randn({rows, columns}) * scale).to(dtype);
  };
  in.student_hidden = normal(s.targets, s.student_hidden, 1).requires_grad_();
  in.student_head =
      normal(s.student_vocab, s.student_hidden, 3 / std::sqrt(s.student_hidden)).requires_grad_();
  in.teacher_hidden = normal(s.targets, s.teacher_hidden, 1);
  in.teacher_head = normal(s.teacher_vocab, s.teacher_hidden, 3 / std::sqrt(s.teacher_hidden));
  in.labels = at::randint(s.vocab, {s.targets}, at::kLong);
  in.weights = at::rand({s.targets}) * 2;
  if (s.targets > 3) in.weights.slice(0, 0, 3).zero_();
  return in;
}

// max |a - b| / max |b|
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const double scale = b.to(at::kDouble).abs().max().item<double>();
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() / (scale > 0 ? scale : 1);
}

}  // namespace retort::reference
