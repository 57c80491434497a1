// Σ_j (a_S - a_T)² between rows of attention maps. Summed over keys, not averaged: a row is a distribution
// however long.
#include "objective/alignment/attention_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

class AttentionMse : public AttentionTerm {
 public:
  AttentionMse(const AttentionTermOptions& options, const std::string& where, const TermContext& context)
      : AttentionTerm(MapDistance::square, options, where, context) {}
  std::string name() const override { return "attention_mse"; }
};

}  // namespace

std::unique_ptr<Term> make_attention_mse(const Json& options, const std::string& where,
                                         const TermContext& context) {
  AttentionTermOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<AttentionMse>(parsed, where, context);
}

}  // namespace retort
