#include "objective/fused/divergence.h"

#include <cmath>

#include "base/error.h"
#include "objective/fused/row_kernels.h"

namespace retort {
namespace {

// One row: value, and scale · ∂/∂(z_S / τ) added to `gradient` unless that is null.
float divergence_row(const Divergence& divergence, const KlRow& row, float scale, float* gradient) {
  const auto share_t = static_cast<float>(divergence.teacher_share),
             share_s = static_cast<float>(divergence.student_share);
  if (divergence.mixture == 0) return share_t * row_kernels().forward_kl(row, share_t * scale, gradient);
  if (divergence.mixture == 1) return share_s * row_kernels().reverse_kl(row, share_s * scale, gradient);
  return row_kernels().mixture({row, static_cast<float>(divergence.mixture), share_t, share_s}, scale,
                               gradient);
}

}  // namespace

// Exactly 0 where the two are equal; see mixture_point of the row kernels.
at::Tensor divergence_rows(const Divergence& divergence, const at::Tensor& log_s, const at::Tensor& log_t,
                           const at::Tensor& scale, const at::Tensor& gradient) {
  const double w = divergence.mixture;
  const at::Tensor difference = log_t - log_s;
  const at::Tensor p_s = log_s.exp();
  at::Tensor value;
  if (w == 0) {
    const at::Tensor p_t = log_t.exp();
    value = (difference * p_t).sum(1) * divergence.teacher_share;
    if (gradient.defined())
      gradient.add_(p_s.sub_(p_t).mul_((scale * divergence.teacher_share).unsqueeze(1)));
    return value;
  }
  if (w == 1) {
    value = (difference * p_s).sum(1) * -divergence.student_share;
    if (gradient.defined())
      gradient.add_(
          (difference * -divergence.student_share - value.unsqueeze(1)).mul_(p_s).mul_(scale.unsqueeze(1)));
  } else {
    const at::Tensor student_larger = difference <= 0;
    const at::Tensor e = difference.abs().neg_().exp_();
    const at::Tensor a = at::where(student_larger, at::scalar_tensor(1 - w, log_s.options()),
                                   at::scalar_tensor(w, log_s.options()));
    const at::Tensor t = a + (1 - a) * e;
    const at::Tensor log_unit = t.log();
    const at::Tensor log_s_over_m = (log_unit + difference.clamp_min(0)).neg_();
    const at::Tensor log_t_over_m = (log_unit - difference.clamp_max(0)).neg_();
    value = (log_t_over_m * log_t.exp()).sum(1) * divergence.teacher_share +
            (log_s_over_m * p_s).sum(1) * divergence.student_share;
    if (gradient.defined()) {
      const at::Tensor s_over_m = at::where(student_larger, 1 / t, e / t),
                       t_over_m = at::where(student_larger, e / t, 1 / t);
      const at::Tensor total = p_s.sum(1, /*keepdim=*/true);
      const auto less_mean = [&](const at::Tensor& x) {
        return x - (x * p_s).sum(1, /*keepdim=*/true) / total;
      };
      const at::Tensor slope =
          less_mean(log_s_over_m).sub_(less_mean(s_over_m).mul_(1 - w)).mul_(divergence.student_share);
      slope.sub_(less_mean(t_over_m).mul_((1 - w) * divergence.teacher_share));
      gradient.add_(slope.mul_(p_s).mul_(scale.unsqueeze(1)));
    }
  }
  return value;
}

// ∂(τ² f)/∂z_S = τ ∂f/∂(z_S / τ)
at::Tensor divergence_chunk(const Divergence& divergence, double temperature, const LogitChunk& chunk,
                            double lambda, const at::Tensor& gradient) {
  const double tau = temperature;
  const at::Tensor &student = chunk.student, &teacher = chunk.teacher;
  const bool forward = divergence.mixture == 0;
  const at::Tensor& lse_s = forward ? chunk.head_log_sum_exp(tau) : chunk.student_log_sum_exp(tau);
  const at::Tensor& lse_t = chunk.teacher_log_sum_exp(tau);
  const at::Tensor scale = chunk.weights * (lambda * tau);
  if (forward && gradient.defined()) chunk.add_padding_gradient(tau, scale * divergence.teacher_share);
  if (!student.device().is_cpu())
    return divergence_rows(divergence, student / tau - lse_s.unsqueeze(1), teacher / tau - lse_t.unsqueeze(1),
                           scale, gradient)
        .mul_(tau * tau);
  at::Tensor value = at::empty_like(lse_s);
  for (std::int64_t c = 0; c < student.size(0); ++c) {
    const KlRow row{.student = student.const_data_ptr<float>() + c * student.stride(0),
                    .teacher = teacher.const_data_ptr<float>() + c * teacher.stride(0),
                    .size = student.size(1),
                    .inverse_temperature = static_cast<float>(1 / tau),
                    .student_log_sum_exp = lse_s.const_data_ptr<float>()[c],
                    .teacher_log_sum_exp = lse_t.const_data_ptr<float>()[c]};
    value.mutable_data_ptr<float>()[c] = divergence_row(
        divergence, row, scale.const_data_ptr<float>()[c],
        gradient.defined() ? gradient.mutable_data_ptr<float>() + c * gradient.stride(0) : nullptr);
  }
  return value.mul_(tau * tau);
}

void SoftOptions::visit(OptionList& list) {
  list.add("temperature", temperature, "softens both distributions; the term is multiplied by its square");
}

void check_temperature(double temperature, const std::string& where) {
  if (!(temperature > 0 && std::isfinite(temperature)))
    throw Error({.where = where + ": temperature",
                 .found = Json(temperature).dump(),
                 .expected = "a number above 0",
                 .advice = ""});
}

}  // namespace retort
