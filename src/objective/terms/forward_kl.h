// τ² · KL(p_T^τ || p_S^τ), the teacher's entropy included, so that it is 0 when student = teacher (Hinton et
// al. 2015).
#pragma once

#include "objective/fused/divergence.h"
#include "objective/registry.h"

namespace retort {

class ForwardKl : public LogitTerm {
 public:
  explicit ForwardKl(SoftOptions options = {}) : options_(options) {}
  std::string name() const override { return "forward_kl"; }
  bool needs_teacher() const override { return true; }
  double* changeable(std::string_view key) override {
    return key == "temperature" ? &options_.temperature : nullptr;
  }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override;

 private:
  SoftOptions options_;
};

std::unique_ptr<LogitTerm> make_forward_kl(const Json& options, const std::string& where, const TermContext&);

}  // namespace retort
