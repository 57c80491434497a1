// τ² · KL(p_T || α p_T + (1 - α) p_S), or with direction: reverse τ² · KL(p_S || α p_S + (1 - α) p_T): a KL
// whose gradient stays bounded where the other side finds a token impossible (DistiLLM, Ko et al. 2024).
#include "base/error.h"
#include "objective/fused/divergence.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct SkewedKlOptions {
  SoftOptions soft;
  double skew = 0.1;
  std::string direction = "forward";
  void visit(OptionList& list) {
    soft.visit(list);
    list.add("skew", skew,
             "α: share of the first distribution in the mixture it is compared with, in [0, 1)");
    list.add("direction", direction, "forward: of the teacher; reverse: of the student").choices = {
        "forward", "reverse"};
  }
};

class SkewedKl : public LogitTerm {
 public:
  explicit SkewedKl(SkewedKlOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "skewed_kl"; }
  bool needs_teacher() const override { return true; }
  double* changeable(std::string_view key) override {
    return key == "temperature" ? &options_.soft.temperature : nullptr;
  }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    const bool forward = options_.direction == "forward";
    return divergence_chunk({.mixture = forward ? options_.skew : 1 - options_.skew,
                             .teacher_share = forward ? 1.0 : 0.0,
                             .student_share = forward ? 0.0 : 1.0},
                            options_.soft.temperature, chunk, lambda, gradient);
  }

 private:
  SkewedKlOptions options_;
};

}  // namespace

std::unique_ptr<LogitTerm> make_skewed_kl(const Json& options, const std::string& where, const TermContext&) {
  SkewedKlOptions parsed;
  read_term_options(parsed, options, where);
  check_temperature(parsed.soft.temperature, where);
  if (!(parsed.skew >= 0 && parsed.skew < 1))
    throw Error({.where = where + ": skew",
                 .found = Json(parsed.skew).dump(),
                 .expected = "a number from 0 to below 1",
                 .advice = ""});
  return std::make_unique<SkewedKl>(parsed);
}

}  // namespace retort
