// A model folder with all that is needed to talk to it.
#pragma once

#include <memory>
#include <string>

#include "architecture/language_model.h"
#include "cli/compute.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace retort {

struct OpenedModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the folder has none and `needs_tokenizer` is false
  std::unique_ptr<ChatTemplate> chat_template;  // null when the folder has none
};

OpenedModel open_model(const std::string& folder, const ComputeOptions& compute, bool needs_tokenizer = true);

}  // namespace retort
