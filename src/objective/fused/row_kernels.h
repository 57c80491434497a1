// The losses' inner loops over one row of logits on the CPU, once per instruction set. A row is read from the
// cache by each term in turn, so what counts here is exp(), not memory.
#pragma once

#include <cstdint>
#include <vector>

namespace retort {

struct KlRow {
  const float* student;
  const float* teacher;
  std::int64_t size;
  float inverse_temperature;
  float student_log_sum_exp, teacher_log_sum_exp;  // of z / τ
};

// teacher_share · KL(p_T || m) + student_share · KL(p_S || m) with m = mixture · p_T + (1 - mixture) · p_S.
struct MixtureRow {
  KlRow rows;
  float mixture;  // within (0, 1)
  float teacher_share, student_share;
};

struct RowKernels {
  const char* name;
  // log Σ_v exp(z_v · inverse_temperature)
  float (*log_sum_exp)(const float* z, std::int64_t size, float inverse_temperature);
  // gradient_v += scale · exp(z_v - log_sum_exp)
  void (*add_softmax)(const float* z, std::int64_t size, float log_sum_exp, float scale, float* gradient);
  // Returns Σ_v p_T (log p_T - log p_S); gradient_v += scale · (p_S - p_T) unless gradient is null.
  float (*forward_kl)(const KlRow& row, float scale, float* gradient);
  // Returns f = Σ_v p_S (log p_S - log p_T); gradient_v += scale · p_S (log p_S - log p_T - f).
  float (*reverse_kl)(const KlRow& row, float scale, float* gradient);
  // Returns the divergence f; gradient_v += scale · ∂f/∂(z_S / τ)_v.
  float (*mixture)(const MixtureRow& row, float scale, float* gradient);
};

// The best set of those that this machine supports.
const RowKernels& row_kernels();
// All that this machine supports, the best first, the portable one last.
std::vector<const RowKernels*> supported_row_kernels();

}  // namespace retort
