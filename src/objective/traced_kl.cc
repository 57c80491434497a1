#include "objective/traced_kl.h"

#include "data/trace_reading.h"

namespace retort {

void TracedKl::prepare(const StepView& view) {
  const Batch& batch = *view.batch.host;
  const auto read_ahead =
      batch.traces ? batch.traces : std::make_shared<const TraceRows>(read_traces(*store_, batch));
  const TraceRows& rows = *read_ahead;
  const std::vector<std::int64_t> shape = {rows.rows(), rows.width};
  const at::Device device = view.batch.labels.device();
  ids_ = send(rows.ids, shape, device);
  log_probs_ = send(rows.log_probs, shape, device);
  probs_ = send(rows.probs, shape, device);
}

at::Tensor TracedKl::chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const {
  const double tau = store_->manifest().temperature;
  const at::Tensor& z = chunk.student;
  const std::int64_t rows = z.size(0);
  const at::Tensor ids = ids_.narrow(0, chunk.first, rows), probs = probs_.narrow(0, chunk.first, rows);
  const at::Tensor& log_sum_exp = chunk.head_log_sum_exp(tau);
  const at::Tensor log_student = z.gather(1, ids).div_(tau).sub_(log_sum_exp.unsqueeze(1));
  const at::Tensor value =
      (log_probs_.narrow(0, chunk.first, rows) - log_student).mul_(probs).sum(1).mul_(tau * tau);
  if (gradient.defined()) {
    const at::Tensor scale = chunk.weights * (lambda * tau);
    chunk.add_head_gradient(tau, scale, gradient);
    gradient.scatter_add_(1, ids, probs * scale.neg().unsqueeze(1));
  }
  return value;
}

}  // namespace retort
