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

// What a path means: a model, or an adapter over the base that it names, in a folder or in a training run's.
struct Meaning {
  std::filesystem::path model;
  std::vector<AdapterReference> adapters;
};
Meaning read_path(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  if (fs::exists(path / "train.json"))
    return read_path(path / (fs::exists(path / "adapter") ? "adapter" : "model"));
  if (!fs::exists(path / "adapter_config.json")) return {path, {}};
  const std::string base = AdapterFolder(path).config.base;
  if (base.empty() || !fs::exists(base))
    throw Error({.where = (path / "adapter_config.json").string() + ": base_model_name_or_path",
                 .found = base.empty() ? "nothing" : base + ", which is not here",
                 .expected = "the base model's folder",
                 .advice = "Give the base as the model and this folder as --adapter."});
  return {base, {{path.string(), 1}}};
}

class FolderOrFileOpener : public ModelOpener {
 public:
  void visit(OptionList& list) override {
    list.add("adapter", adapters_, "adapters beside the model, one on top of another: DIR or DIR:WEIGHT");
    compute_.visit(list);
  }

  OpenedModel open(const std::string& path, bool needs_tokenizer) const override {
    const std::vector<AdapterReference> given = parse_adapter_references(adapters_);
    if (std::filesystem::path(path).extension() == ".gguf")
      return open_with_engine(path, {.threads = compute_.threads}, needs_tokenizer, given);
    compute_.apply();
    OpenedModel opened;
    auto [folder, adapters] = read_path(path);
    adapters.insert(adapters.end(), given.begin(), given.end());
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
