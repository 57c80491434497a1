#include "cli/open_model.h"

#include <filesystem>

#include "architecture/model_folder.h"
#include "model/torch_language_model.h"

namespace retort {

OpenedModel open_model(const std::string& folder, const ComputeOptions& compute, bool needs_tokenizer) {
  compute.apply();
  OpenedModel opened;
  const bool has_tokenizer = std::filesystem::exists(std::filesystem::path(folder) / "tokenizer.json") ||
                             std::filesystem::exists(std::filesystem::path(folder) / "vocab.json");
  auto model = std::make_shared<CausalLM>(ModelFolder(folder), compute.torch_device(), compute.dtype());
  model->set_requires_grad(false);
  opened.model = as_language_model(std::move(model));
  if (needs_tokenizer || has_tokenizer) opened.tokenizer = open_tokenizer(folder);
  opened.chat_template = open_chat_template(folder);
  return opened;
}

}  // namespace retort
