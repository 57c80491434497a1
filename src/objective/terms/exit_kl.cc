// Self-distillation from the deepest layer to shallow exits (Zhang et al. 2019; LayerSkip's early exits
// through the shared final norm and head, Elhoushi et al. 2024): a mean over the exits of
// τ² KL(p_last^τ || p_k^τ), p_k what norm and head make of the states after layer k, p_last held fixed.
#include <fmt/format.h>

#include "base/error.h"
#include "objective/fused/divergence.h"
#include "objective/fused/linear_loss.h"
#include "objective/terms/forward_kl.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct ExitOptions {
  std::vector<std::int64_t> layers;
  double temperature = 1;
  void visit(OptionList& list) {
    list.add("layers", layers, "the student's layers that learn to be exits, from 0; none: the middle one");
    list.add("temperature", temperature, "softens both distributions; the term is multiplied by its square");
  }
};

class ExitKl : public Term {
 public:
  ExitKl(const ExitOptions& options, const std::string& where, const TermContext& context)
      : layers_(options.layers), real_vocab_(context.real_vocab) {
    const std::int64_t last = context.student->num_hidden_layers() - 1;
    if (layers_.empty()) layers_ = {(last - 1) / 2};
    for (const std::int64_t layer : layers_)
      if (layer < 0 || layer >= last)
        throw Error({.where = where + ": layers",
                     .found = std::to_string(layer),
                     .expected = fmt::format("0 … {}: layers before the last", last - 1),
                     .advice = ""});
    terms_.push_back({std::make_unique<ForwardKl>(SoftOptions{options.temperature}), 1});
  }

  std::string name() const override { return "exit_kl"; }
  Taps student_taps() const override {
    Taps taps;
    taps.hidden.assign(layers_.begin(), layers_.end());
    return taps;
  }
  double* changeable(std::string_view key) override { return terms_.front().term->changeable(key); }

  LossSum compute(const StepView& view) override {
    at::Tensor sum;
    for (const std::int64_t layer : layers_) {
      const at::Tensor states = view.student_output.hidden_taps.at(static_cast<int>(layer));
      const LinearLossInput input{
          .student_hidden = view.student.final_norm(states.index_select(0, view.batch.target_index)),
          .student_head = view.student.head_weight(),
          .teacher_hidden = view.student_output.target_rows(view.batch).detach(),
          .teacher_head = view.student.head_weight().detach(),
          .labels = view.batch.labels,
          .weights = view.batch.weights,
          .real_vocab = real_vocab_};
      const at::Tensor one = fused_linear_loss(input, terms_).total;
      sum = sum.defined() ? sum + one : one;
    }
    return {sum / static_cast<double>(layers_.size()), view.batch.weight_sum};
  }

 private:
  std::vector<std::int64_t> layers_;
  std::int64_t real_vocab_;
  std::vector<Weighted<LogitTerm>> terms_;  // forward_kl alone
};

}  // namespace

std::unique_ptr<Term> make_exit_kl(const Json& options, const std::string& where,
                                   const TermContext& context) {
  ExitOptions parsed;
  read_term_options(parsed, options, where);
  check_temperature(parsed.temperature, where);
  if (context.student == nullptr || context.student->num_hidden_layers() < 2)
    throw Error({.where = where,
                 .found = "a student without a layer before the last",
                 .expected = "two layers at least",
                 .advice = ""});
  return std::make_unique<ExitKl>(parsed, where, context);
}

}  // namespace retort
