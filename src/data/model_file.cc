#include "data/model_file.h"

#include "architecture/gguf_model.h"
#include "data/gguf_tokenizer.h"

namespace retort {
namespace fs = std::filesystem;

ModelFile open_model_file(const fs::path& path) {
  ModelFile opened;
  if (looks_like_gguf(path)) {
    const auto file = std::make_shared<const GgufFile>(path);
    opened.weights = gguf_weights(file);
    opened.tokenizer = tokenizer_of_gguf(*file);
    opened.chat_template = chat_template_of_gguf(*file);
    return opened;
  }
  opened.weights = open_model_weights(path);
  if (fs::exists(path / "tokenizer.json") || fs::exists(path / "vocab.json"))
    opened.tokenizer = open_tokenizer(path);
  opened.chat_template = open_chat_template(path);
  return opened;
}

}  // namespace retort
