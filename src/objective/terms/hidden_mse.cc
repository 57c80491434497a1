// Mean over channels of (P h_S - h_T)² (FitNets, Romero et al. 2015; TinyBERT, Jiao et al. 2020).
#include "objective/alignment/layer_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct HiddenMseOptions {
  HiddenTermOptions hidden;
  bool relative = false;
  void visit(OptionList& list) {
    hidden.visit(list);
    list.add("relative", relative, "divide by the mean square of the teacher's state: layers weigh alike");
  }
};

class HiddenMse : public HiddenTerm {
 public:
  HiddenMse(const HiddenMseOptions& options, const std::string& where, const TermContext& context)
      : HiddenTerm(options.hidden, where, context), relative_(options.relative) {}
  std::string name() const override { return "hidden_mse"; }

 private:
  at::Tensor distance(const at::Tensor& student, const at::Tensor& teacher) const override {
    const at::Tensor mse = (student - teacher).square().mean(1);
    return relative_ ? mse / teacher.square().mean(1).clamp_min(1e-12) : mse;
  }
  bool relative_;
};

}  // namespace

std::unique_ptr<Term> make_hidden_mse(const Json& options, const std::string& where,
                                      const TermContext& context) {
  HiddenMseOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<HiddenMse>(parsed, where, context);
}

}  // namespace retort
