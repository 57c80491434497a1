// Loss terms. L = Σ_i w_i Σ_k λ_k term_k,i / Σ_i w_i over target positions i with label y_i and weight w_i,
// kept as (sum, weight) until one division per optimizer step. A term that compares with a teacher is 0 when
// student = teacher.
//
// On logits z (in nats; p = softmax(z / τ) over the V tokens, but p_S of cross_entropy and forward KL over
// all rows of the student's head: its padding is never right); all but the last are multiplied by τ² (Hinton
// et al. 2015), so that gradients keep their size when τ changes:
//   cross_entropy    -log p_S(y) at τ = 1
//   forward_kl       KL(p_T || p_S) = Σ_v p_T (log p_T - log p_S): the teacher's entropy included
//   reverse_kl       KL(p_S || p_T)
//   generalized_jsd  β KL(p_T || m) + (1 - β) KL(p_S || m), m = β p_T + (1 - β) p_S; β = 0 is forward_kl,
//                    β = 1 reverse_kl (Agarwal et al. 2024; TRL's β)
//   skewed_kl        KL(p_T || α p_T + (1 - α) p_S), or reversed KL(p_S || α p_S + (1 - α) p_T)
//                    (Ko et al. 2024)
//   logit_mse        (1 / V) Σ_v (z_S - z_T)²; τ would cancel
//
// On layers; a mean over the pairs of layers of a map. Position i counts w_i at targets, or a sequence's Σ w
// spread over all its positions; times domain_weight where it holds a domain term:
//   hidden_mse       mean over channels of (P h_S - h_T)², P a learned projection or nothing; relative:
//                    divided by the mean of h_T²
//   hidden_cosine    1 - cos(P h_S, h_T)
//   cka              1 - linear CKA of a sequence's positions, times the sequence's Σ w: packing changes
//                    nothing
//   attention_kl     mean over the teacher's chosen heads of Σ_j a_T (log a_T - log a_S), row i of the maps a
//   attention_mse    the same of Σ_j (a_S - a_T)²
//   value_relation   attention_kl of the maps softmax(v vᵀ / √d) (MiniLM, Wang et al. 2020), causal as
//                    attention is
//   exit_kl          τ² KL(p_last || p_k), p_k what final norm and head make of layer k's states: the student
//                    teaches itself
//
// On spans of text, where they begin (for teachers with another tokenizer); Σ over the B spans of the weight
// of the first target:
//   span_kl          KL over the span, the tokens that both have, and the rest (terms/span_kl.h)
//   uld              Σ_k |p_S(k-th likeliest) - p_T(k-th likeliest)| (Boizard et al. 2024)
//
// On weights, times Σ_i w_i, so that the step's division leaves them as they are:
//   l2               Σ θ² over what is trained, or its root
//   l2_start         Σ (θ - θ_start)² (L2-SP, Li et al. 2018)
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "objective/fused/teacher_panel.h"

namespace retort {

// (Σ w_i · term_i, Σ w_i), apart until one division per optimizer step, over micro-batches and ranks.
struct LossSum {
  // 0-dim fp32 on the model's device; part of the graph for a Term.
  at::Tensor sum;
  // A Term gives the micro-batch's DeviceBatch::weight_sum, so that one division serves all terms.
  double weight = 0;
};

// All that a term may look at in one micro-batch.
struct StepView {
  const DeviceBatch& batch;
  const CausalLM& student;
  const ModelOutput& student_output;
  // The only teacher, or the first of several, on which terms on layers look; null: the terms at hand need
  // none.
  const CausalLM* teacher = nullptr;
  const ModelOutput* teacher_output = nullptr;
  const TeacherPanel* panel = nullptr;  // several teachers, whose distributions are mixed into one
  std::int64_t step = 0;
};

// What a term is called in logs: its name, or a label that tells it from another of that name.
class Labelled {
 public:
  virtual std::string name() const = 0;  // the registry's
  std::string label() const { return label_.empty() ? name() : label_; }
  void set_label(std::string label) { label_ = std::move(label); }

 protected:
  ~Labelled() = default;

 private:
  std::string label_;
};

// A loss on hidden states, attention maps or weights.
class Term : public Labelled {
 public:
  virtual ~Term() = default;
  std::string name() const override = 0;
  virtual Taps student_taps() const { return {}; }
  virtual Taps teacher_taps() const { return {}; }
  // Trained with the student, dropped at export (projections).
  virtual std::vector<Parameter> parameters() { return {}; }
  virtual LossSum compute(const StepView& view) = 0;  // differentiable
  // An option that may change during a run, by name; null when there is none of that name.
  virtual double* changeable(std::string_view) { return nullptr; }
};

// What every LogitTerm sees of some target positions. Rows are already shifted: row c predicts labels[c]. On
// CPU the fused head hands out a few rows at a time, so that all terms read them from the cache; on CUDA a
// whole chunk.
struct LogitChunk {
  at::Tensor student;  // fp32 [C, V], unit column stride
  // The same for the teacher's logits of the same V tokens (of its own vocabulary:
  // LinearLossInput::teacher_vocab), or undefined.
  at::Tensor teacher;
  // The student's logits of rows of its head that are no tokens, fp32 [C, P], and where their gradients are
  // added; undefined where there are none.
  at::Tensor padding, padding_gradient;
  at::Tensor labels;   // int64 [C]
  at::Tensor weights;  // fp32 [C]
  // Row 0 belongs to target number `first` of the micro-batch: DeviceBatch::target_index[first].
  std::int64_t first = 0;

  // log Σ_v exp(z_v / τ) over the V tokens, fp32 [C]: computed once for all terms that use this temperature.
  const at::Tensor& student_log_sum_exp(double temperature) const;
  const at::Tensor& teacher_log_sum_exp(double temperature) const;
  // The same over all rows of the student's head, by which its probabilities are divided when it answers.
  // Terms that use it teach the student that padding is never a word, and owe the padding its gradient,
  // scale_c · softmax(z / τ); scale fp32 [C].
  const at::Tensor& head_log_sum_exp(double temperature) const;
  void add_padding_gradient(double temperature, const at::Tensor& scale) const;
  // That for the padding, and the same for the tokens, added to `gradient` [C, V].
  void add_head_gradient(double temperature, const at::Tensor& scale, const at::Tensor& gradient) const;

 private:
  mutable std::map<double, at::Tensor> student_log_sum_exp_, teacher_log_sum_exp_, head_log_sum_exp_;
};

// A loss on logits. All of an objective's logit terms share one pass of the fused head.
class LogitTerm : public Labelled {
 public:
  virtual ~LogitTerm() = default;
  std::string name() const override = 0;
  virtual bool needs_teacher() const = 0;
  // Whether it learns the labels: it then skips what the student has written itself (Batch::by_student).
  virtual bool learns_labels() const { return false; }
  // Once per micro-batch, before its chunks: the place to fetch what replaces or joins the teacher (recorded
  // traces by view.batch.host->example_ids, another teacher's hidden states); chunk() finds its rows by
  // LogitChunk::first.
  virtual void prepare(const StepView&) {}
  // An option that may change during a run ("temperature"), by name; null when there is none of that name.
  virtual double* changeable(std::string_view) { return nullptr; }
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
