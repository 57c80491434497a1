// retort train: pre-training, fine-tuning, and several methods beside one another.
#include "cli/compare.h"
#include "cli/registry.h"

namespace retort {
namespace {

class Train : public Verb {
 public:
  void visit(OptionList& list) override {
    options_.visit(list, /*distill=*/false);
    compare_.visit(list);
  }
  Json run() override {
    return compare_.on() ? compare_methods(options_, compare_) : learn(options_, /*distill=*/false);
  }
  std::vector<std::string> inputs() const override { return options_.nested_inputs(); }

 private:
  LearnOptions options_;
  CompareOptions compare_;
};

}  // namespace

std::unique_ptr<Verb> make_train() { return std::make_unique<Train>(); }

}  // namespace retort
