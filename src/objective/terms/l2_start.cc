// Σ (θ - θ_start)² over the student's parameters (L2-SP, Li et al. 2018): the student keeps near where it
// began.
#include "base/error.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct NoOptions {
  void visit(OptionList&) {}
};

class L2Start : public Term {
 public:
  explicit L2Start(const CausalLM& student) {
    for (const Parameter& parameter : student.parameters())
      start_.push_back(parameter.tensor.detach().clone());
  }
  std::string name() const override { return "l2_start"; }
  LossSum compute(const StepView& view) override {
    at::Tensor sum = at::zeros({}, at::TensorOptions(view.student.device()).dtype(at::kFloat));
    const auto& parameters = view.student.parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].tensor.requires_grad())
        sum = sum + (parameters[i].tensor.to(at::kFloat) - start_[i].to(at::kFloat)).square().sum();
    return {sum * view.batch.weight_sum, view.batch.weight_sum};
  }

 private:
  std::vector<at::Tensor> start_;  // in the order of CausalLM::parameters
};

}  // namespace

std::unique_ptr<Term> make_l2_start(const Json& options, const std::string& where,
                                    const TermContext& context) {
  NoOptions parsed;
  read_term_options(parsed, options, where);
  if (context.student_model == nullptr)
    throw Error({.where = where,
                 .found = "no student",
                 .expected = "the weights that training starts from",
                 .advice = ""},
                ErrorKind::failure);
  return std::make_unique<L2Start>(*context.student_model);
}

}  // namespace retort
