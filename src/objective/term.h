// Loss terms. Conventions (all in nats, per target position i with label y_i and weight w_i; z logits, p^τ =
// softmax(z / τ)):
//   cross entropy  CE_i = -log p_S(y_i)
//   forward KL     KL_i = Σ_v p_T^τ (log p_T^τ - log p_S^τ), times τ² (Hinton et al. 2015), so 0 when student
//   = teacher total          L = Σ_i w_i Σ_k λ_k term_k,i / Σ_i w_i, kept as (sum, weight) until one division
//   per optimizer step
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/causal_lm.h"

namespace retort {

// (Σ w_i · term_i, Σ w_i), apart until one division per optimizer step, over micro-batches and ranks.
struct LossSum {
  at::Tensor sum;  // 0-dim fp32 on the model's device; part of the graph for a Term
  double weight =
      0;  // a Term gives the micro-batch's DeviceBatch::weight_sum, so that one division serves all terms
};

// All that a term may look at in one micro-batch.
struct StepView {
  const DeviceBatch& batch;
  const CausalLM& student;
  const ModelOutput& student_output;
  const CausalLM* teacher = nullptr;  // null: the terms at hand need none
  const ModelOutput* teacher_output = nullptr;
  std::int64_t step = 0;
};

// A loss on hidden states, attention maps or weights.
class Term {
 public:
  virtual ~Term() = default;
  virtual std::string name() const = 0;
  virtual Taps student_taps() const { return {}; }
  virtual Taps teacher_taps() const { return {}; }
  virtual std::vector<Parameter> parameters() {
    return {};
  }  // trained with the student, dropped at export (projections)
  virtual LossSum compute(const StepView& view) = 0;  // differentiable
};

// What every LogitTerm sees of some target positions. Rows are already shifted: row c predicts labels[c]. On
// CPU the fused head hands out a few rows at a time, so that all terms read them from the cache; on CUDA a
// whole chunk.
struct LogitChunk {
  at::Tensor student;  // fp32 [C, V], unit column stride
  at::Tensor teacher;  // the same for the teacher's logits of the same V tokens, or undefined
  at::Tensor labels;   // int64 [C]
  at::Tensor weights;  // fp32 [C]
  std::int64_t first =
      0;  // row 0 belongs to target number `first` of the micro-batch: DeviceBatch::target_index[first]

  // log Σ_v exp(z_v / τ), fp32 [C]: computed once for all terms that use this temperature.
  const at::Tensor& student_log_sum_exp(double temperature) const;
  const at::Tensor& teacher_log_sum_exp(double temperature) const;

 private:
  mutable std::map<double, at::Tensor> student_log_sum_exp_, teacher_log_sum_exp_;
};

// A loss on logits. All of an objective's logit terms share one pass of the fused head.
class LogitTerm {
 public:
  virtual ~LogitTerm() = default;
  virtual std::string name() const = 0;
  virtual bool needs_teacher() const = 0;
  // Once per micro-batch, before its chunks: the place to fetch what replaces or joins the teacher (recorded
  // traces by view.batch.host->example_ids, another teacher's hidden states); chunk() finds its rows by
  // LogitChunk::first.
  virtual void prepare(const StepView&) {}
  // Adds λ · w_c · ∂term_c/∂z_S to gradient [C, V] (fp32; undefined when no gradient is wanted) and returns
  // term_c without λ and without w_c (fp32 [C]). Called from several threads at once, for different rows.
  virtual at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const = 0;
};

// A term of an objective with its present weight λ (schedules change it between steps).
template <class T>
struct Weighted {
  std::unique_ptr<T> term;
  double lambda = 1;
};

}  // namespace retort
