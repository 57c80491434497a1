// Forward KL between models of different tokenizers, where common spans of the answer begin. There both have
// read the same text; what they may say next is cut into the same events on both sides:
//
//   the span itself, in the tokens that each model has for it: P = Π p(token | the ones before), by the chain
//     rule; its probability mass is taken out of the first token's,
//   each token whose text both vocabularies have (but for one whose text is the span's),
//   everything else, as one.
//
//   span_kl = Σ_e P_T(e) (log P_T(e) - log P_S(e))
//
// at temperature 1: products of softened probabilities would be no span's. By merging outcomes it is a lower
// bound of the divergence between the two distributions over texts; for one tokenizer every span is a token
// and the sum is forward_kl. The parts are those of peers: spans merged by the chain rule and shared tokens
// compared as they are (GOLD, TRL's experimental.gold, and Patiño et al. 2025, "Unlocking on-policy
// distillation for any model family"); that they are cut into one set of events, so that it is a divergence,
// is this term's.
#pragma once

#include "objective/alignment/teacher_reading.h"

namespace retort {

class SpanKl : public Term {
 public:
  explicit SpanKl(std::shared_ptr<TeacherReading> reading);
  std::string name() const override { return "span_kl"; }
  LossSum compute(const StepView& view) override;

 private:
  std::shared_ptr<TeacherReading> reading_;
  at::Tensor student_shared_, teacher_shared_;  // int64 [M]: the shared tokens
  at::Tensor student_own_, teacher_own_;        // int64: those that only one has
};

}  // namespace retort
