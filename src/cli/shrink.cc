// retort shrink: a smaller student out of a larger model.
#include "compress/shrink/layers.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/registry.h"

namespace retort {
namespace {

class Shrink : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "folder of the model to cut");
    model.required = true;
    model.path = PathRole::input;
    list.add("layers", layers_, "layers to keep, counted from 0, e.g. 0,2,4,6");
    list.add("num_layers", num_layers_,
             "or: how many to keep, evenly spread, the first and the last among them");
    Option& out = list.add("out", out_, "folder to write");
    out.required = true;
    out.path = PathRole::output;
  }

  Json run() override {
    const ModelFolder folder(model_);
    if (layers_.empty() == (num_layers_ == 0))
      throw Error({.where = "shrink",
                   .found = layers_.empty() ? "neither layers nor num_layers" : "both layers and num_layers",
                   .expected = "one of them",
                   .advice = ""});
    const std::vector<std::int64_t> layers =
        layers_.empty() ? spread_layers(folder.config().num_hidden_layers(), num_layers_) : layers_;
    keep_layers(folder, layers, out_);
    const ModelFolder cut(out_);
    const std::int64_t before = parameter_count(folder.config()), after = parameter_count(cut.config());
    log_info("{} → {} layers, {:.2f} M → {:.2f} M parameters ({:.0f} %): {}",
             folder.config().num_hidden_layers(), cut.config().num_hidden_layers(),
             static_cast<double>(before) / 1e6, static_cast<double>(after) / 1e6,
             100.0 * static_cast<double>(after) / static_cast<double>(before), out_);
    return {{"layers", layers}, {"parameters_before", before}, {"parameters", after}};
  }

 private:
  std::string model_, out_;
  std::vector<std::int64_t> layers_;
  std::int64_t num_layers_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_shrink() { return std::make_unique<Shrink>(); }

}  // namespace retort
