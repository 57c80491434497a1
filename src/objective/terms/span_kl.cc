#include "objective/terms/span_kl.h"

#include <array>

#include "objective/alignment/span_losses.h"
#include "objective/fused/linear_loss.h"
#include "objective/terms/cross_entropy.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

constexpr double kFloor = 1e-30;  // of a probability in a quotient or logarithm

at::Tensor column(const at::Tensor& list) { return list.unsqueeze(1); }

// One model's probabilities of the events at C spans.
struct Events {
  at::Tensor tokens;                // [C, V]: of each token, the first without the span's mass
  at::Tensor span, shared, others;  // [C], [C, M], [C]

  // `first`, `log_rest`: of the span's tokens the first, and log p of the others; `whole`: see SpanRows;
  // `shared_ids`, `own_ids`: the vocabulary's two parts.
  Events(const at::Tensor& log_p, const at::Tensor& first, const at::Tensor& log_rest,
         const at::Tensor& whole, const at::Tensor& shared_ids, const at::Tensor& own_ids)
      : tokens(log_p.exp()) {
    const at::Tensor p = tokens.gather(1, column(first)).squeeze(1);
    span = p * log_rest.exp();
    tokens.scatter_(1, column(first), column(p * log_rest.expm1().neg_()));
    shared = tokens.index_select(1, shared_ids);
    others = tokens.index_select(1, own_ids).sum(1);
    // A token with the span's whole text is another spelling of it, which this model would not use.
    const at::Tensor spelled = column(whole.clamp_min(0)), is_spelled = column(whole >= 0);
    const at::Tensor mass = shared.gather(1, spelled).mul_(is_spelled);
    others = others + mass.squeeze(1);
    shared.scatter_add_(1, spelled, mass.neg());
  }
};

// Σ T (log T - log P)
at::Tensor divergence(const at::Tensor& t, const at::Tensor& p) {
  return t * (t.clamp_min(kFloor).log_() - p.clamp_min(kFloor).log_());
}

class SpanEvents : public LogitTerm {
 public:
  SpanEvents(const SpanRows& rows, at::Tensor student_rest, std::array<at::Tensor, 4> ids)
      : rows_(rows),
        student_rest_(std::move(student_rest)),
        ids_(std::move(ids)),
        rest_gradient_(at::zeros_like(student_rest_)) {}
  std::string name() const override { return "span_kl"; }
  bool needs_teacher() const override { return true; }
  // [B] ∂ KL / ∂ log p_S of the span's later tokens, once chunk() has seen all spans.
  const at::Tensor& rest_gradient() const { return rest_gradient_; }

  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    const auto here = [&](const at::Tensor& list) {
      return list.narrow(0, chunk.first, chunk.student.size(0));
    };
    const auto& [student_shared, student_own, teacher_shared, teacher_own] = ids_;
    const at::Tensor first = here(rows_.student_tokens), whole = here(rows_.whole),
                     rest = here(student_rest_);
    const at::Tensor log_p = chunk.student - column(chunk.student_log_sum_exp(1));
    const Events s(log_p, first, rest, whole, student_shared, student_own);
    const Events t(chunk.teacher - column(chunk.teacher_log_sum_exp(1)), here(rows_.teacher_tokens),
                   here(rows_.teacher_rest), whole, teacher_shared, teacher_own);
    const at::Tensor value =
        divergence(t.span, s.span) + divergence(t.shared, s.shared).sum(1) + divergence(t.others, s.others);
    if (gradient.defined()) {
      // ∂ KL / ∂ z_v = p_v (1 - Σ_e c_ev P_T(e) / P_S(e)), c_ev the share of v's probability that belongs to
      // e.
      const auto ratio = [](const at::Tensor& a, const at::Tensor& b) { return a / b.clamp_min(kFloor); };
      const at::Tensor others = column(ratio(t.others, s.others));
      at::Tensor shared = ratio(t.shared, s.shared);
      shared.scatter_(1, column(whole.clamp_min(0)),
                      at::where(column(whole >= 0), others, shared.gather(1, column(whole.clamp_min(0)))));
      at::Tensor ratios = others.expand_as(log_p).clone();
      ratios.index_copy_(1, student_shared, shared);
      const at::Tensor without = ratios.gather(1, column(first)).squeeze(1), with = ratio(t.span, s.span);
      const at::Tensor share = rest.exp();
      ratios.scatter_(1, column(first), column(share * with - rest.expm1() * without));
      gradient.add_(ratios.neg_().add_(1).mul_(log_p.exp()).mul_(column(chunk.weights * lambda)));
      here(rest_gradient_).copy_(s.span * (without - with));
    }
    return value;
  }

 private:
  const SpanRows& rows_;
  at::Tensor student_rest_;        // fp32 [B]: log p_S of the span's later tokens
  std::array<at::Tensor, 4> ids_;  // student's shared and own tokens, teacher's shared and own
  mutable at::Tensor rest_gradient_;
};

}  // namespace

SpanKl::SpanKl(std::shared_ptr<TeacherReading> reading) : reading_(std::move(reading)) {
  std::vector<std::int64_t> student, teacher;
  for (const auto& [ours, theirs] : reading_->shared()) {
    student.push_back(ours);
    teacher.push_back(theirs);
  }
  const at::Device device = reading_->teacher().device();
  const auto own = [&](const std::vector<std::int64_t>& shared, std::int64_t vocab) {
    at::Tensor is_own = at::ones({vocab}, at::kBool);
    is_own.index_fill_(0, at::tensor(shared, at::kLong), 0);
    return is_own.nonzero().squeeze(1).to(device);
  };
  student_own_ = own(student, reading_->student_vocab());
  teacher_own_ = own(teacher, reading_->teacher_vocab());
  student_shared_ = at::tensor(student, at::kLong).to(device);
  teacher_shared_ = at::tensor(teacher, at::kLong).to(device);
}

LossSum SpanKl::compute(const StepView& view) {
  const SpanRows& rows = reading_->read(view);
  if (rows.count() == 0) return {no_loss(view), view.batch.weight_sum};
  // [L, H].
  const at::Tensor later = view.student_output.target_rows(view.batch).index_select(0, rows.later_rows);
  // Of tokens alone, as the events are: a span's probability is no less for the head's padding.
  const at::Tensor head = view.student.head_weight().narrow(0, 0, reading_->student_vocab());
  auto events = std::make_unique<SpanEvents>(
      rows,
      log_rest({.hidden = later.detach(),
                .head = head.detach(),
                .tokens = rows.later_tokens,
                .spans = rows.later_spans,
                .vocab = reading_->student_vocab()},
               rows.count()),
      std::array<at::Tensor, 4>{student_shared_, student_own_, teacher_shared_, teacher_own_});
  const at::Tensor rest_gradient = events->rest_gradient();
  at::Tensor sum = span_losses(view, *reading_, rows, std::move(events));
  if (sum.requires_grad() && rows.later_tokens.numel() > 0) {
    // The later tokens' share of the gradient, by a cross entropy -log p whose value does not count.
    std::vector<Weighted<LogitTerm>> terms;
    terms.push_back({std::make_unique<CrossEntropy>(), 1});
    const at::Tensor of_rest =
        fused_linear_loss(
            {.student_hidden = later,
             .student_head = head,
             .teacher_hidden = {},
             .teacher_head = {},
             .labels = rows.later_tokens,
             .weights = (rest_gradient * rows.weights).neg_().index_select(0, rows.later_spans)},
            terms)
            .total;
    sum = sum + of_rest - of_rest.detach();
  }
  return {sum, view.batch.weight_sum};
}

std::unique_ptr<Term> make_span_kl(const Json& options, const std::string& where,
                                   const TermContext& context) {
  OptionList none;
  assign_term_options(none, options, where);
  return std::make_unique<SpanKl>(reading_of(context, where));
}

}  // namespace retort
