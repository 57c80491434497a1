#include "objective/alignment/span_losses.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

// Universal logit distance (Boizard et al. 2024, arXiv:2402.12030, equation 6): Σ_k |p_S(k-th likeliest) -
// p_T(k-th likeliest)|, the shorter vocabulary continued with zeros. It asks for the shape of the teacher's
// distribution alone, not for which tokens are likely.
class SortedDistance : public LogitTerm {
 public:
  std::string name() const override { return "uld"; }
  bool needs_teacher() const override { return true; }

  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    const at::Tensor p = (chunk.student - chunk.student_log_sum_exp(1).unsqueeze(1)).exp_();
    const at::Tensor q = (chunk.teacher - chunk.teacher_log_sum_exp(1).unsqueeze(1)).exp_();
    const auto [sorted_p, order] = p.sort(1, /*descending=*/true);
    const at::Tensor sorted_q = std::get<0>(q.sort(1, /*descending=*/true));
    const std::int64_t both = std::min(p.size(1), q.size(1));
    at::Tensor difference = sorted_p.clone();
    difference.narrow(1, 0, both).sub_(sorted_q.narrow(1, 0, both));
    at::Tensor value = difference.abs().sum(1);
    if (q.size(1) > both) value = value + sorted_q.narrow(1, both, q.size(1) - both).sum(1);
    if (gradient.defined()) {
      // ∂/∂z_v = p_v (s_v - Σ_u p_u s_u), s the sign of the difference at the place that v has.
      const at::Tensor sign = at::empty_like(p).scatter_(1, order, difference.sign());
      gradient.add_((sign - (p * sign).sum(1, true)).mul_(p).mul_((chunk.weights * lambda).unsqueeze(1)));
    }
    return value;
  }
};

class Uld : public Term {
 public:
  explicit Uld(std::shared_ptr<TeacherReading> reading) : reading_(std::move(reading)) {}
  std::string name() const override { return "uld"; }
  LossSum compute(const StepView& view) override {
    const SpanRows& rows = reading_->read(view);
    return {rows.count() == 0 ? no_loss(view)
                              : span_losses(view, *reading_, rows, std::make_unique<SortedDistance>()),
            view.batch.weight_sum};
  }

 private:
  std::shared_ptr<TeacherReading> reading_;
};

}  // namespace

std::unique_ptr<Term> make_uld(const Json& options, const std::string& where, const TermContext& context) {
  OptionList none;
  assign_term_options(none, options, where);
  return std::make_unique<Uld>(reading_of(context, where));
}

}  // namespace retort
