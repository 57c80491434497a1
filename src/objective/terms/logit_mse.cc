// (1 / V) Σ_v (z_S - z_T)² (Ba & Caruana 2014). A temperature would cancel against its square. `centered`
// first takes each row's mean from it: the logits of a softmax are free up to a constant, and V / 2 times
// this is what τ² KL tends to when τ grows (Hinton et al. 2015).
#include "base/options.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct LogitMseOptions {
  bool centered = false;
  void visit(OptionList& list) {
    list.add("centered", centered, "compare logits less their mean over the vocabulary");
  }
};

class LogitMse : public LogitTerm {
 public:
  explicit LogitMse(LogitMseOptions options) : options_(options) {}
  std::string name() const override { return "logit_mse"; }
  bool needs_teacher() const override { return true; }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    at::Tensor difference = chunk.student - chunk.teacher;
    if (options_.centered) difference.sub_(difference.mean(1, /*keepdim=*/true));
    const at::Tensor value = difference.square().mean(1);
    if (gradient.defined())
      gradient.add_(difference.mul_(
          (chunk.weights * (2 * lambda / static_cast<double>(difference.size(1)))).unsqueeze(1)));
    return value;
  }

 private:
  LogitMseOptions options_;
};

}  // namespace

std::unique_ptr<LogitTerm> make_logit_mse(const Json& options, const std::string& where, const TermContext&) {
  LogitMseOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<LogitMse>(parsed);
}

}  // namespace retort
