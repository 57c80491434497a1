// retort merge: adapters become part of a model's weights.
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/compute.h"
#include "cli/registry.h"
#include "model/adapters/adapter.h"

namespace retort {
namespace {

class Merge : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "folder of the base model");
    model.required = true;
    model.path = PathRole::input;
    list.add("adapter", adapters_, "adapter folders, DIR or DIR:WEIGHT").required = true;
    list.add("method", method_, "the weighted sum of changes, or TIES: the largest, where signs agree")
        .choices = {"linear", "ties"};
    list.add("density", density_, "of TIES: the share of each tensor's changes kept");
    list.add("save_dtype", save_dtype_, "type of the weights written; auto: as the base has them").choices = {
        "auto", "fp32", "bf16", "fp16"};
    Option& out = list.add("out", out_, "folder to write");
    out.required = true;
    out.path = PathRole::output;
  }

  std::vector<std::string> inputs() const override {
    std::vector<std::string> paths;
    for (const AdapterReference& reference : parse_adapter_references(adapters_))
      paths.push_back(reference.path);
    return paths;
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    const std::vector<AdapterReference> references = parse_adapter_references(adapters_);
    const ModelFolder folder(model_);
    AtomicFolder target(out_);
    CausalLM model(folder, at::kCPU, at::kFloat);
    model.set_requires_grad(false);
    merge_adapters(model, references, {.ties = method_ == "ties", .density = density_});
    const DType stored = folder.weights().tensors().front().dtype;
    const DType dtype = save_dtype_ == "fp32"                          ? DType::f32
                        : save_dtype_ == "fp16"                        ? DType::f16
                        : save_dtype_ == "bf16"                        ? DType::bf16
                        : stored == DType::f32 || stored == DType::f16 ? stored
                                                                       : DType::bf16;
    save_causal_lm(model, target.path(), {.dtype = dtype, .tokenizer_from = model_});
    target.commit();
    log_info("{} adapters merged into {}.", references.size(), out_);
    return {{"adapters", adapters_}, {"method", method_}};
  }

 private:
  std::string model_, method_ = "linear", save_dtype_ = "auto", out_;
  std::vector<std::string> adapters_;
  double density_ = 0.5;
};

}  // namespace

std::unique_ptr<Verb> make_merge() { return std::make_unique<Merge>(); }

}  // namespace retort
