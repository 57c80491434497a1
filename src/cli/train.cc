// retort train: pre-training and full fine-tuning.
#include "cli/learn.h"
#include "cli/registry.h"

namespace retort {
namespace {

class Train : public Verb {
 public:
  void visit(OptionList& list) override { options_.visit(list, /*distill=*/false); }
  Json run() override { return learn(options_, /*distill=*/false); }

 private:
  LearnOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_train() { return std::make_unique<Train>(); }

}  // namespace retort
