#include "objective/terms/cross_entropy.h"

#include "base/error.h"
#include "objective/registry.h"

namespace retort {

void CrossEntropyOptions::visit(OptionList& list) {
  list.add("label_smoothing", label_smoothing,
           "share of the target spread evenly over the vocabulary, in [0, 1)");
}

// With targets q: term = lse - Σ_v q_v z_v, gradient = p - q.
at::Tensor CrossEntropy::chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const {
  const at::Tensor& z = chunk.student;
  const double smoothing = options_.label_smoothing;
  const at::Tensor& log_sum_exp = chunk.head_log_sum_exp(1);
  const at::Tensor labels = chunk.labels.unsqueeze(1);
  at::Tensor target = z.gather(1, labels).squeeze(1);
  if (smoothing > 0) target = target * (1 - smoothing) + z.mean(1) * smoothing;
  if (gradient.defined()) {
    const at::Tensor scale = chunk.weights * lambda;
    chunk.add_head_gradient(1, scale, gradient);
    gradient.scatter_add_(1, labels, (scale * (smoothing - 1)).unsqueeze(1));
    if (smoothing > 0) gradient.sub_((scale * (smoothing / static_cast<double>(z.size(1)))).unsqueeze(1));
  }
  return log_sum_exp - target;
}

std::unique_ptr<LogitTerm> make_cross_entropy(const Json& options, const std::string& where,
                                              const TermContext&) {
  CrossEntropyOptions parsed;
  read_term_options(parsed, options, where);
  if (!(parsed.label_smoothing >= 0 && parsed.label_smoothing < 1))
    throw Error({.where = where + ": label_smoothing",
                 .found = options.at("label_smoothing").dump(),
                 .expected = "a number from 0 to below 1",
                 .advice = ""});
  return std::make_unique<CrossEntropy>(parsed);
}

}  // namespace retort
