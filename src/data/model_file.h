// All that is needed to talk to a model, from one path: a GGUF file or a Hugging Face folder.
#pragma once

#include <filesystem>
#include <memory>

#include "architecture/model_weights.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace retort {

struct ModelFile {
  std::unique_ptr<ModelWeights> weights;        // weights->config() is the model
  std::unique_ptr<Tokenizer> tokenizer;         // null when there is none
  std::unique_ptr<ChatTemplate> chat_template;  // null when there is none
};

ModelFile open_model_file(const std::filesystem::path& path);

}  // namespace retort
