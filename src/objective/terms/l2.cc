// Σ θ² over what is trained of the student, or its root ‖θ‖: each step's gradient has it once, whatever the
// accumulation.
#include "base/options.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct L2Options {
  bool root = false;
  void visit(OptionList& list) { list.add("root", root, "the norm instead of its square"); }
};

class L2 : public Term {
 public:
  explicit L2(L2Options options) : options_(options) {}
  std::string name() const override { return "l2"; }
  LossSum compute(const StepView& view) override {
    at::Tensor sum = at::zeros({}, at::TensorOptions(view.student.device()).dtype(at::kFloat));
    for (const Parameter& parameter : view.student.parameters())
      if (parameter.tensor.requires_grad()) sum = sum + parameter.tensor.to(at::kFloat).square().sum();
    return {(options_.root ? sum.sqrt() : sum) * view.batch.weight_sum, view.batch.weight_sum};
  }

 private:
  L2Options options_;
};

}  // namespace

std::unique_ptr<Term> make_l2(const Json& options, const std::string& where, const TermContext&) {
  L2Options parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<L2>(parsed);
}

}  // namespace retort
