// -log p_S(label). With label smoothing ε the target is (1 - ε) · label + ε · uniform (Szegedy et al. 2016),
// as in PyTorch.
#pragma once

#include "base/options.h"
#include "objective/registry.h"

namespace retort {

struct CrossEntropyOptions {
  double label_smoothing = 0;
  void visit(OptionList& list);
};

class CrossEntropy : public LogitTerm {
 public:
  explicit CrossEntropy(CrossEntropyOptions options = {}) : options_(options) {}
  std::string name() const override { return "cross_entropy"; }
  bool needs_teacher() const override { return false; }
  bool learns_labels() const override { return true; }
  at::Tensor chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const override;

 private:
  CrossEntropyOptions options_;
};

std::unique_ptr<LogitTerm> make_cross_entropy(const Json& options, const std::string& where,
                                              const TermContext&);

}  // namespace retort
