// How a program opens a model to talk to it: retort-edge with the CPU engine, retort with LibTorch or the
// engine. A verb is given an opener and knows no more.
#pragma once

#include <memory>
#include <string>

#include "architecture/language_model.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace retort {

struct OpenedModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;         // null only when not needed and there is none
  std::unique_ptr<ChatTemplate> chat_template;  // null when there is none
  Json compute;  // {"device": "cpu", "precision": "bf16", "threads": 2}, for reports
};

class ModelOpener {
 public:
  virtual ~ModelOpener() = default;
  // Where and how to compute.
  virtual void visit(OptionList& list) = 0;
  virtual OpenedModel open(const std::string& path, bool needs_tokenizer = true) const = 0;
};

}  // namespace retort
