#include "cli/open_model.h"

#include <filesystem>

#include "architecture/model_folder.h"
#include "base/error.h"
#include "cli/compute.h"
#include "cli_edge/engine_opener.h"
#include "model/adapters/adapter.h"
#include "model/torch_language_model.h"

namespace retort {
namespace {

class FolderOrFileOpener : public ModelOpener {
 public:
  void visit(OptionList& list) override {
    list.add("adapter", adapters_, "adapters beside the model, one on top of another: DIR or DIR:WEIGHT");
    compute_.visit(list);
  }

  OpenedModel open(const std::string& path, bool needs_tokenizer) const override {
    const std::vector<AdapterReference> adapters = parse_adapter_references(adapters_);
    if (std::filesystem::path(path).extension() == ".gguf")
      return open_with_engine(path, {.threads = compute_.threads}, needs_tokenizer, adapters);
    compute_.apply();
    OpenedModel opened;
    const std::filesystem::path folder = path;
    const bool has_tokenizer =
        std::filesystem::exists(folder / "tokenizer.json") || std::filesystem::exists(folder / "vocab.json");
    auto model = std::make_shared<CausalLM>(ModelFolder(folder), compute_.torch_device(), compute_.dtype());
    model->set_requires_grad(false);
    add_adapters(*model, adapters);
    opened.model = as_language_model(std::move(model));
    if (needs_tokenizer || has_tokenizer) opened.tokenizer = open_tokenizer(folder);
    opened.chat_template = open_chat_template(folder);
    opened.compute = compute_.describe();
    return opened;
  }

 private:
  std::vector<std::string> adapters_;
  ComputeOptions compute_;
};

}  // namespace

std::unique_ptr<ModelOpener> make_model_opener() { return std::make_unique<FolderOrFileOpener>(); }

}  // namespace retort
