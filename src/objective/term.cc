#include "objective/term.h"

#include "objective/fused/row_kernels.h"

namespace retort {
namespace {

at::Tensor log_sum_exp(const at::Tensor& logits, double temperature) {
  if (!logits.device().is_cpu()) return (temperature == 1 ? logits : logits / temperature).logsumexp(1);
  at::Tensor result = at::empty({logits.size(0)}, logits.options());
  float* out = result.mutable_data_ptr<float>();
  const float* row = logits.const_data_ptr<float>();
  for (std::int64_t c = 0; c < logits.size(0); ++c, row += logits.stride(0))
    out[c] = row_kernels().log_sum_exp(row, logits.size(1), static_cast<float>(1 / temperature));
  return result;
}

const at::Tensor& cached(std::map<double, at::Tensor>& cache, const at::Tensor& logits, double temperature) {
  at::Tensor& entry = cache[temperature];
  if (!entry.defined()) entry = log_sum_exp(logits, temperature);
  return entry;
}

}  // namespace

const at::Tensor& LogitChunk::student_log_sum_exp(double temperature) const {
  return cached(student_log_sum_exp_, student, temperature);
}

const at::Tensor& LogitChunk::head_log_sum_exp(double temperature) const {
  const at::Tensor& tokens = student_log_sum_exp(temperature);
  if (!padding.defined()) return tokens;
  at::Tensor& entry = head_log_sum_exp_[temperature];
  if (!entry.defined()) entry = at::logaddexp(tokens, log_sum_exp(padding, temperature));
  return entry;
}

void LogitChunk::add_padding_gradient(double temperature, const at::Tensor& scale) const {
  if (!padding_gradient.defined()) return;
  padding_gradient.add_(
      (padding / temperature - head_log_sum_exp(temperature).unsqueeze(1)).exp_().mul_(scale.unsqueeze(1)));
}

void LogitChunk::add_head_gradient(double temperature, const at::Tensor& scale,
                                   const at::Tensor& gradient) const {
  add_padding_gradient(temperature, scale);
  const at::Tensor& log_sum_exp = head_log_sum_exp(temperature);
  if (!student.device().is_cpu() || temperature != 1) {
    const at::Tensor softened = temperature == 1 ? student : student / temperature;
    gradient.add_((softened - log_sum_exp.unsqueeze(1)).exp_().mul_(scale.unsqueeze(1)));
    return;
  }
  for (std::int64_t c = 0; c < student.size(0); ++c)
    row_kernels().add_softmax(student.const_data_ptr<float>() + c * student.stride(0), student.size(1),
                              log_sum_exp.const_data_ptr<float>()[c], scale.const_data_ptr<float>()[c],
                              gradient.mutable_data_ptr<float>() + c * gradient.stride(0));
}

const at::Tensor& LogitChunk::teacher_log_sum_exp(double temperature) const {
  return cached(teacher_log_sum_exp_, teacher, temperature);
}

}  // namespace retort
