// Several teachers as one. At a target position with label y it gives p_T(v) = Σ_k w_k p_k(v), Σ_k w_k = 1;
// its logits are log p_T, which temperatures soften as those of any teacher.
#pragma once

#include <vector>

#include "model/causal_lm.h"

namespace retort {

enum class PanelWeights {
  given,       // w_k ∝ the weights given
  confidence,  // ∝ weight · p_k(y): who knows the label counts more
  entropy,     // ∝ weight · exp(-H(p_k)): who is surer counts more
};

struct PanelMember {
  const CausalLM* model = nullptr;
  at::Tensor rows;     // [T, H] its last hidden states at the targets; anything where the weight is 0
  at::Tensor weights;  // fp32 [T], at least 0; above 0 for one member at least
};

struct TeacherPanel {
  std::vector<PanelMember> members;
  PanelWeights by = PanelWeights::given;
};

// log p_T at the targets [first, first + C) with `labels` int64 [C]: fp32 [C, vocab].
at::Tensor mix_teachers(const TeacherPanel& panel, const at::Tensor& labels, std::int64_t first,
                        std::int64_t vocab);

}  // namespace retort
