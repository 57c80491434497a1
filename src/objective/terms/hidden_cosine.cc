// 1 - cos(P h_S, h_T) (DistilBERT, Sanh et al. 2019): direction alone.
#include "objective/alignment/layer_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

class HiddenCosine : public HiddenTerm {
 public:
  using HiddenTerm::HiddenTerm;
  std::string name() const override { return "hidden_cosine"; }

 private:
  // ½ |u - v|² of the unit vectors: exactly 0 where they are equal, which 1 - u·v is not.
  at::Tensor distance(const at::Tensor& student, const at::Tensor& teacher) const override {
    const auto unit = [](const at::Tensor& x) {
      return x / x.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
    };
    return (unit(student) - unit(teacher)).square().sum(1) * 0.5;
  }
};

}  // namespace

std::unique_ptr<Term> make_hidden_cosine(const Json& options, const std::string& where,
                                         const TermContext& context) {
  HiddenTermOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<HiddenCosine>(parsed, where, context);
}

}  // namespace retort
