// retort distill: a student learns from a teacher's distributions and from the data's own answers.
#include "cli/learn.h"
#include "cli/registry.h"

namespace retort {
namespace {

class Distill : public Verb {
 public:
  void visit(OptionList& list) override { options_.visit(list, /*distill=*/true); }
  std::vector<std::string> inputs() const override { return options_.nested_inputs(); }
  Json run() override { return learn(options_, /*distill=*/true); }

 private:
  LearnOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_distill() { return std::make_unique<Distill>(); }

}  // namespace retort
