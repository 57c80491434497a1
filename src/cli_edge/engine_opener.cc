#include "cli_edge/engine_opener.h"

#include "architecture/adapter_weights.h"
#include "base/error.h"
#include "data/model_file.h"
#include "runtime/engine_language_model.h"

namespace retort {
namespace {

class EngineOpener : public ModelOpener {
 public:
  void visit(OptionList& list) override {
    list.add("adapter", adapters_,
             "adapters beside the model, one on top of another: a PEFT folder or a GGUF adapter, or "
             "PATH:WEIGHT");
    options_.visit(list);
  }
  OpenedModel open(const std::string& path, bool needs_tokenizer) const override {
    return open_with_engine(path, options_, needs_tokenizer, parse_adapter_references(adapters_));
  }

 private:
  std::vector<std::string> adapters_;
  EngineOptions options_;
};

}  // namespace

void load_adapters(Engine& engine, const std::string& name, const std::vector<AdapterReference>& stack) {
  std::vector<AdapterWeights> opened;
  for (const AdapterReference& reference : stack)
    opened.push_back(open_adapter_weights(reference.path, engine.config()));
  std::vector<WeightedAdapter> weighted;
  for (std::size_t i = 0; i < stack.size(); ++i) weighted.push_back({&opened[i], stack[i].weight});
  engine.add_adapter(name, weighted);
}

OpenedModel open_with_engine(const std::string& path, const EngineOptions& options, bool needs_tokenizer,
                             const std::vector<AdapterReference>& adapters) {
  ModelFile file = open_model_file(path);
  if (needs_tokenizer && !file.tokenizer)
    throw Error({.where = path,
                 .found = "no tokenizer",
                 .expected = "tokenizer.json in the folder, or a tokenizer in the GGUF file"});
  file.weights->check();
  auto engine =
      std::make_shared<Engine>(std::shared_ptr<const ModelWeights>(std::move(file.weights)), options);
  OpenedModel opened;
  opened.compute = engine->describe();
  const std::string adapter = adapters.empty() ? "" : "command line";
  if (!adapters.empty()) load_adapters(*engine, adapter, adapters);
  opened.model = as_language_model(std::move(engine), adapter);
  opened.tokenizer = std::move(file.tokenizer);
  opened.chat_template = std::move(file.chat_template);
  return opened;
}

std::unique_ptr<ModelOpener> make_engine_opener() { return std::make_unique<EngineOpener>(); }

}  // namespace retort
