// Forward KL (see forward_kl.h) from recorded traces in place of a teacher: with shares p̂ of TraceRows,
// τ² Σ p̂ (log p_T^τ - log p_S^τ), whose expectation over the recorded draws is the full sum over the
// vocabulary, in value and in gradient τ (p_S^τ - p̂).
#pragma once

#include "formats/trace_store.h"
#include "objective/term.h"

namespace retort {

class TracedKl : public LogitTerm {
 public:
  explicit TracedKl(std::shared_ptr<const TraceStore> store) : store_(std::move(store)) {}
  std::string name() const override { return "forward_kl"; }
  bool needs_teacher() const override { return false; }
  void prepare(const StepView& view) override;
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override;

 private:
  std::shared_ptr<const TraceStore> store_;
  at::Tensor ids_, log_probs_, probs_;  // [T, width] of the micro-batch at hand: int64, fp32, fp32
};

}  // namespace retort
