// Head and losses as one operation: logits are made for a chunk of target positions at a time, used for every
// logit term, turned into gradients of hidden states and head, and dropped. No [T, V] tensor exists.
#pragma once

#include <span>

#include "objective/term.h"

namespace retort {

struct LinearLossInput {
  at::Tensor student_hidden;            // [T, H_S] at the targets, part of the graph
  at::Tensor student_head;              // [V_S, H_S], part of the graph
  at::Tensor teacher_hidden;            // [T, H_T] or undefined; never differentiated
  at::Tensor teacher_head;              // [V_T, H_T]
  const TeacherPanel* panel = nullptr;  // or several teachers as one
  at::Tensor labels;                    // int64 [T]
  at::Tensor weights;                   // fp32 [T]
  // Rows of the heads beyond it are padding, no tokens (LogitChunk::padding); 0: min(V_S, V_T).
  std::int64_t real_vocab = 0;
  // The same of a teacher with a vocabulary of its own; 0: it has the student's.
  std::int64_t teacher_vocab = 0;
};

struct LinearLossOutput {
  at::Tensor total;                   // 0-dim fp32: Σ_k λ_k Σ_i w_i term_k,i; differentiable
  std::vector<at::Tensor> term_sums;  // per term 0-dim fp32: Σ_i w_i term_k,i; detached
  at::Tensor values;                  // fp32 [K, T]: term_k,i
};

// chunk_rows 0: chosen so that a chunk's fp32 logits take at most 256 MiB per model.
LinearLossOutput fused_linear_loss(const LinearLossInput& input, std::span<Weighted<LogitTerm>> terms,
                                   std::int64_t chunk_rows = 0);

}  // namespace retort
