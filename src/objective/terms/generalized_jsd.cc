// τ² · (β KL(p_T || m) + (1 - β) KL(p_S || m)), m = β p_T + (1 - β) p_S (Agarwal et al. 2024, on-policy
// distillation; β as in TRL: 0 gives the forward, 1 the reverse KL).
#include "base/error.h"
#include "objective/fused/divergence.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct GeneralizedJsdOptions {
  SoftOptions soft;
  double beta = 0.5;
  void visit(OptionList& list) {
    soft.visit(list);
    list.add("beta", beta, "share of the teacher in the mixture: 0 forward KL, 0.5 symmetric, 1 reverse KL");
  }
};

class GeneralizedJsd : public LogitTerm {
 public:
  explicit GeneralizedJsd(GeneralizedJsdOptions options) : options_(options) {}
  std::string name() const override { return "generalized_jsd"; }
  bool needs_teacher() const override { return true; }
  double* changeable(std::string_view key) override {
    return key == "temperature" ? &options_.soft.temperature : nullptr;
  }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    const double beta = options_.beta;
    const bool end = beta == 0 || beta == 1;
    return divergence_chunk(
        {.mixture = beta, .teacher_share = end ? 1 - beta : beta, .student_share = end ? beta : 1 - beta},
        options_.soft.temperature, chunk, lambda, gradient);
  }

 private:
  GeneralizedJsdOptions options_;
};

}  // namespace

std::unique_ptr<LogitTerm> make_generalized_jsd(const Json& options, const std::string& where,
                                                const TermContext&) {
  GeneralizedJsdOptions parsed;
  read_term_options(parsed, options, where);
  check_temperature(parsed.soft.temperature, where);
  if (!(parsed.beta >= 0 && parsed.beta <= 1))
    throw Error({.where = where + ": beta",
                 .found = Json(parsed.beta).dump(),
                 .expected = "a number from 0 to 1",
                 .advice = ""});
  return std::make_unique<GeneralizedJsd>(parsed);
}

}  // namespace retort
