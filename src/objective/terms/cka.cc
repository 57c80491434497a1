// 1 - linear CKA between the positions of a sequence, times the sequence's weight: a sequence is the largest
// set of positions that neither packing nor accumulation changes. Widths may differ without a projection.
#include "objective/alignment/cka.h"

#include "objective/alignment/layer_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

class Cka : public LayerTerm {
 public:
  using LayerTerm::LayerTerm;
  std::string name() const override { return "cka"; }

 private:
  at::Tensor pair_sum(std::size_t, const at::Tensor& student, const at::Tensor& teacher,
                      const Positions& positions) const override {
    at::Tensor sum = student.slice(0, 0, 0).to(at::kFloat).sum();  // 0, in the graph also without positions
    for (std::size_t s = 0; s + 1 < positions.starts.size(); ++s) {
      const std::int64_t begin = positions.starts[s], size = positions.starts[s + 1] - begin;
      if (size < 2) continue;  // one position has nothing to be aligned with
      const at::Tensor weights = positions.weights.narrow(0, begin, size);
      sum = sum + weights.sum() *
                      cka_distance(student.narrow(0, begin, size), teacher.narrow(0, begin, size), weights);
    }
    return sum;
  }
};

}  // namespace

std::unique_ptr<Term> make_cka(const Json& options, const std::string& where, const TermContext& context) {
  LayerTermOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<Cka>(parsed, where, context);
}

}  // namespace retort
