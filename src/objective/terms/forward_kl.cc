#include "objective/terms/forward_kl.h"

#include <cmath>

#include "base/error.h"
#include "objective/fused/row_kernels.h"
#include "objective/traced_kl.h"

namespace retort {

void ForwardKlOptions::visit(OptionList& list) {
  list.add("temperature", temperature, "softens both distributions; the term is multiplied by its square");
}

// ∂(τ² KL)/∂z_S = τ (p_S^τ - p_T^τ)
at::Tensor ForwardKl::chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const {
  const double tau = options_.temperature;
  const at::Tensor &student = chunk.student, &teacher = chunk.teacher;
  const at::Tensor& lse_s = chunk.head_log_sum_exp(tau);
  const at::Tensor& lse_t = chunk.teacher_log_sum_exp(tau);
  const at::Tensor scale = chunk.weights * (lambda * tau);
  if (gradient.defined()) chunk.add_padding_gradient(tau, scale);
  if (!student.device().is_cpu()) {
    const at::Tensor log_s = student / tau - lse_s.unsqueeze(1), log_t = teacher / tau - lse_t.unsqueeze(1);
    const at::Tensor p_t = log_t.exp();
    const at::Tensor value = (log_t - log_s).mul_(p_t).sum(1);
    if (gradient.defined()) gradient.add_(log_s.exp().sub_(p_t).mul_(scale.unsqueeze(1)));
    return value * (tau * tau);
  }
  at::Tensor value = at::empty_like(lse_s);
  for (std::int64_t c = 0; c < student.size(0); ++c) {
    const KlRow row{.student = student.const_data_ptr<float>() + c * student.stride(0),
                    .teacher = teacher.const_data_ptr<float>() + c * teacher.stride(0),
                    .size = student.size(1),
                    .inverse_temperature = static_cast<float>(1 / tau),
                    .student_log_sum_exp = lse_s.const_data_ptr<float>()[c],
                    .teacher_log_sum_exp = lse_t.const_data_ptr<float>()[c]};
    value.mutable_data_ptr<float>()[c] = row_kernels().forward_kl(
        row, scale.const_data_ptr<float>()[c],
        gradient.defined() ? gradient.mutable_data_ptr<float>() + c * gradient.stride(0) : nullptr);
  }
  return value.mul_(tau * tau);
}

std::unique_ptr<LogitTerm> make_forward_kl(const Json& options, const std::string& where,
                                           const TermContext& context) {
  ForwardKlOptions parsed;
  if (context.traces) parsed.temperature = context.traces->manifest().temperature;
  OptionList list;
  parsed.visit(list);
  assign_term_options(list, options, where);
  if (!(parsed.temperature > 0 && std::isfinite(parsed.temperature)))
    throw Error({.where = where + ": temperature",
                 .found = options.at("temperature").dump(),
                 .expected = "a number above 0",
                 .advice = ""});
  if (!context.traces) return std::make_unique<ForwardKl>(parsed);
  const double recorded = context.traces->manifest().temperature;
  if (parsed.temperature != recorded)
    throw Error({.where = where + ": temperature",
                 .found = options.at("temperature").dump(),
                 .expected = Json(recorded).dump() + ", at which the traces were recorded",
                 .advice = "Record traces at the temperature that the student is to learn with."});
  return std::make_unique<TracedKl>(context.traces);
}

}  // namespace retort
