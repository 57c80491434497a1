// The training objective: weighted logit terms through one fused head, plus weighted terms on hidden states.
#pragma once

#include <optional>

#include "objective/registry.h"

namespace retort {

struct NamedLoss {
  std::string name;  // "cross_entropy", "forward_kl"
  at::Tensor sum;    // 0-dim, Σ_i w_i · term_i, without λ and without graph
};

struct ObjectiveResult {
  LossSum total;  // Σ_k λ_k Σ_i w_i term_k,i: backward() from total.sum
  std::vector<NamedLoss> terms;
};

class Objective {
 public:
  // real_vocab: tokens of the tokenizer; columns of the head beyond it are padding. 0: all that student and
  // teacher share.
  Objective(std::vector<Weighted<LogitTerm>> logit_terms, std::vector<Weighted<Term>> terms,
            std::int64_t real_vocab = 0);

  bool needs_teacher() const;
  // Whether some term says something of words that are no labels.
  bool compares() const;
  Taps student_taps() const;
  Taps teacher_taps() const;
  std::vector<Parameter> parameters();
  // Of a batch that the student has written (Batch::by_student) terms that learn labels are left out.
  // With gradients enabled: forward and the head's backward in one pass. Under at::NoGradGuard: values only.
  ObjectiveResult compute(const StepView& view);

  // The weight ("weight") of the term with this label, or another option of it that may change during a run.
  // False, or nothing, when there is no such term or option.
  bool set(std::string_view label, std::string_view key, double value);
  std::optional<double> get(std::string_view label, std::string_view key);

  std::vector<Weighted<LogitTerm>>& logit_terms() { return logit_terms_; }
  std::vector<Weighted<Term>>& terms() { return terms_; }

 private:
  double* changeable(std::string_view label, std::string_view key);

  std::vector<Weighted<LogitTerm>> logit_terms_;  // those that learn labels last
  std::vector<Weighted<Term>> terms_;
  std::int64_t real_vocab_ = 0;
};

// From a recipe's list: [{"name": "forward_kl", "weight": 0.9, "temperature": 2}, …]. Unknown names and keys,
// negative weights and temperatures, and weights that sum to zero are Errors naming the key.
Objective make_objective(const Json& terms, const std::string& where, const TermContext& context = {});

}  // namespace retort
