// KL between rows of attention maps, the teacher's first.
#include "objective/alignment/attention_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

class AttentionKl : public AttentionTerm {
 public:
  AttentionKl(const AttentionTermOptions& options, const std::string& where, const TermContext& context)
      : AttentionTerm(MapDistance::kl, options, where, context) {}
  std::string name() const override { return "attention_kl"; }
};

}  // namespace

std::unique_ptr<Term> make_attention_kl(const Json& options, const std::string& where,
                                        const TermContext& context) {
  AttentionTermOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<AttentionKl>(parsed, where, context);
}

}  // namespace retort
