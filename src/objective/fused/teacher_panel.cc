#include "objective/fused/teacher_panel.h"

#include "objective/fused/head_gemm.h"

namespace retort {

at::Tensor mix_teachers(const TeacherPanel& panel, const at::Tensor& labels, std::int64_t first,
                        std::int64_t vocab) {
  const std::int64_t count = labels.size(0);
  at::Tensor mixed, total;  // log Σ_k u_k p_k [C, vocab] and log Σ_k u_k [C, 1], u_k the weights before ∝
  for (const PanelMember& member : panel.members) {
    const at::Tensor head = member.model->head_weight().narrow(0, 0, vocab);
    at::Tensor logits = at::empty({count, vocab}, head.options().dtype(logits_dtype(head)));
    project(member.rows.narrow(0, first, count), head, logits);
    logits = logits.to(at::kFloat);
    at::Tensor log_p = logits.sub_(logits.logsumexp(1, /*keepdim=*/true));
    at::Tensor log_u = member.weights.narrow(0, first, count).log().unsqueeze(1);
    if (panel.by == PanelWeights::confidence) log_u = log_u + log_p.gather(1, labels.unsqueeze(1));
    if (panel.by == PanelWeights::entropy) log_u = log_u + (log_p.exp() * log_p).sum(1, /*keepdim=*/true);
    log_p.add_(log_u);
    mixed = mixed.defined() ? at::logaddexp_out(mixed, mixed, log_p) : log_p;
    total = total.defined() ? at::logaddexp(total, log_u) : log_u;
  }
  return mixed.sub_(total);
}

}  // namespace retort
