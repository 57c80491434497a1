// Divergences between softened distributions of teacher and student, for a chunk of rows.
#pragma once

#include "base/options.h"
#include "objective/term.h"

namespace retort {

// teacher_share · KL(p_T || m) + student_share · KL(p_S || m), m = mixture · p_T + (1 - mixture) · p_S.
struct Divergence {
  double mixture = 0;
  double teacher_share = 1, student_share = 0;
};

// Values times τ² (fp32 [C]); adds λ · w_c · τ² · ∂/∂z_S to `gradient`, see LogitTerm::chunk. A mixture of 0
// needs student_share 0 (m = p_S: forward KL, whose p_S counts the head's padding), one of 1 teacher_share 0.
at::Tensor divergence_chunk(const Divergence& divergence, double temperature, const LogitChunk& chunk,
                            double lambda, const at::Tensor& gradient);

// The same with tensors, as devices other than the CPU do it: for log-probabilities [C, V], without τ; adds
// scale_c · ∂/∂(z_S / τ) to `gradient`.
at::Tensor divergence_rows(const Divergence& divergence, const at::Tensor& log_s, const at::Tensor& log_t,
                           const at::Tensor& scale, const at::Tensor& gradient);

// The option of every softened term.
struct SoftOptions {
  double temperature = 1;
  void visit(OptionList& list);
};
// Throws Error naming `where: temperature` unless it is a number above 0.
void check_temperature(double temperature, const std::string& where);

}  // namespace retort
