#include "objective/objective.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "objective/fused/linear_loss.h"

namespace retort {

Objective::Objective(std::vector<Weighted<LogitTerm>> logit_terms, std::vector<Weighted<Term>> terms,
                     std::int64_t real_vocab)
    : logit_terms_(std::move(logit_terms)), terms_(std::move(terms)), real_vocab_(real_vocab) {
  std::stable_partition(logit_terms_.begin(), logit_terms_.end(),
                        [](const auto& t) { return !t.term->learns_labels(); });
}

bool Objective::needs_teacher() const {
  const auto logit = [](const auto& t) { return t.term->needs_teacher(); };
  const auto taps = teacher_taps();
  return std::any_of(logit_terms_.begin(), logit_terms_.end(), logit) || !taps.empty();
}

bool Objective::compares() const {
  return std::any_of(logit_terms_.begin(), logit_terms_.end(),
                     [](const auto& t) { return !t.term->learns_labels(); }) ||
         !teacher_taps().empty();
}

Taps Objective::student_taps() const {
  Taps taps;
  for (const auto& [term, lambda] : terms_) taps.merge(term->student_taps());
  return taps;
}

Taps Objective::teacher_taps() const {
  Taps taps;
  for (const auto& [term, lambda] : terms_) taps.merge(term->teacher_taps());
  return taps;
}

std::vector<Parameter> Objective::parameters() {
  std::vector<Parameter> all;
  for (const auto& [term, lambda] : terms_)
    for (Parameter& parameter : term->parameters()) all.push_back(std::move(parameter));
  return all;
}

double* Objective::changeable(std::string_view label, std::string_view key) {
  const auto find_in = [&](auto& terms) -> double* {
    for (auto& [term, lambda] : terms)
      if (term->label() == label) return key == "weight" ? &lambda : term->changeable(key);
    return nullptr;
  };
  double* found = find_in(logit_terms_);
  return found != nullptr ? found : find_in(terms_);
}

bool Objective::set(std::string_view label, std::string_view key, double value) {
  double* place = changeable(label, key);
  if (place != nullptr) *place = value;
  return place != nullptr;
}

std::optional<double> Objective::get(std::string_view label, std::string_view key) {
  const double* place = changeable(label, key);
  return place != nullptr ? std::optional(*place) : std::nullopt;
}

ObjectiveResult Objective::compute(const StepView& view) {
  ObjectiveResult result;
  result.total.weight = view.batch.weight_sum;
  std::span<Weighted<LogitTerm>> logit_terms(logit_terms_);
  if (view.batch.host != nullptr && view.batch.host->by_student)
    logit_terms = logit_terms.first(static_cast<std::size_t>(std::count_if(
        logit_terms_.begin(), logit_terms_.end(), [](const auto& t) { return !t.term->learns_labels(); })));
  if (!logit_terms.empty()) {
    const bool with_teacher = std::any_of(logit_terms.begin(), logit_terms.end(),
                                          [](const auto& t) { return t.term->needs_teacher(); });
    if (with_teacher && view.panel == nullptr && !(view.teacher && view.teacher_output))
      throw Error({.where = "objective",
                   .found = "no teacher",
                   .expected = "one, for the terms at hand",
                   .advice = ""},
                  ErrorKind::failure);
    LinearLossInput input{.student_hidden = view.student_output.target_rows(view.batch),
                          .student_head = view.student.head_weight(),
                          .teacher_hidden = {},
                          .teacher_head = {},
                          .panel = with_teacher ? view.panel : nullptr,
                          .labels = view.batch.labels,
                          .weights = view.batch.weights,
                          .real_vocab = real_vocab_};
    if (with_teacher && view.panel == nullptr) {
      input.teacher_hidden = view.teacher_output->target_rows(view.batch);
      input.teacher_head = view.teacher->head_weight();
    }
    for (auto& [term, lambda] : logit_terms) term->prepare(view);
    LinearLossOutput output = fused_linear_loss(input, logit_terms);
    result.total.sum = output.total;
    for (std::size_t k = 0; k < logit_terms.size(); ++k)
      result.terms.push_back({logit_terms[k].term->label(), output.term_sums[k]});
  }
  for (auto& [term, lambda] : terms_) {
    const LossSum loss = term->compute(view);
    if (std::abs(loss.weight - result.total.weight) > 1e-6 * std::abs(result.total.weight))
      throw Error({.where = "loss term " + term->label(),
                   .found = "weight " + std::to_string(loss.weight),
                   .expected = std::to_string(result.total.weight) + ", the batch's",
                   .advice = ""},
                  ErrorKind::failure);
    const at::Tensor scaled = loss.sum * lambda;
    result.total.sum = result.total.sum.defined() ? result.total.sum + scaled : scaled;
    result.terms.push_back({term->label(), loss.sum.detach()});
  }
  return result;
}

}  // namespace retort
