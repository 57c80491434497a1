// τ² · KL(p_S^τ || p_T^τ): the student keeps to what the teacher finds likely (Gu et al. 2024).
#include "objective/fused/divergence.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

class ReverseKl : public LogitTerm {
 public:
  explicit ReverseKl(SoftOptions options) : options_(options) {}
  std::string name() const override { return "reverse_kl"; }
  bool needs_teacher() const override { return true; }
  double* changeable(std::string_view key) override {
    return key == "temperature" ? &options_.temperature : nullptr;
  }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override {
    return divergence_chunk({.mixture = 1, .teacher_share = 0, .student_share = 1}, options_.temperature,
                            chunk, lambda, gradient);
  }

 private:
  SoftOptions options_;
};

}  // namespace

std::unique_ptr<LogitTerm> make_reverse_kl(const Json& options, const std::string& where,
                                           const TermContext&) {
  SoftOptions parsed;
  read_term_options(parsed, options, where);
  check_temperature(parsed.temperature, where);
  return std::make_unique<ReverseKl>(parsed);
}

}  // namespace retort
