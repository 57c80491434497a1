#include "cli_edge/engine_opener.h"

#include "base/error.h"
#include "data/model_file.h"
#include "runtime/engine_language_model.h"

namespace retort {
namespace {

class EngineOpener : public ModelOpener {
 public:
  void visit(OptionList& list) override { options_.visit(list); }
  OpenedModel open(const std::string& path, bool needs_tokenizer) const override {
    return open_with_engine(path, options_, needs_tokenizer);
  }

 private:
  EngineOptions options_;
};

}  // namespace

OpenedModel open_with_engine(const std::string& path, const EngineOptions& options, bool needs_tokenizer) {
  ModelFile file = open_model_file(path);
  if (needs_tokenizer && !file.tokenizer)
    throw Error({.where = path,
                 .found = "no tokenizer",
                 .expected = "tokenizer.json in the folder, or a tokenizer in the GGUF file"});
  auto engine =
      std::make_shared<Engine>(std::shared_ptr<const ModelWeights>(std::move(file.weights)), options);
  OpenedModel opened;
  opened.compute = engine->describe();
  opened.model = as_language_model(std::move(engine));
  opened.tokenizer = std::move(file.tokenizer);
  opened.chat_template = std::move(file.chat_template);
  return opened;
}

std::unique_ptr<ModelOpener> make_engine_opener() { return std::make_unique<EngineOpener>(); }

}  // namespace retort
