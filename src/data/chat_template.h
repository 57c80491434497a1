// A model's own prompt format: its Jinja chat template, rendered as transformers' apply_chat_template does.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace retort {

struct Message {
  std::string role;  // system, user, assistant, tool
  std::string content;
};

class ChatTemplate {
 public:
  // `source` is Jinja; `special_tokens` gives bos_token, eos_token … as the template's variables. Throws
  // Error with the line of a construct that is not understood.
  ChatTemplate(std::string source, Json special_tokens, std::string where);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  std::string render(std::span<const Message> messages, bool add_generation_prompt) const;
  // The same with any variables and message fields (tools, reasoning_content …).
  std::string render(const Json& messages, bool add_generation_prompt, const Json& variables) const;
  const std::string& source() const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

// chat_template.jinja, else tokenizer_config.json's chat_template; null when the folder has neither.
std::unique_ptr<ChatTemplate> open_chat_template(const std::filesystem::path& folder);

// The template that ships for models trained from nothing (ChatML).
extern const char* const kChatMLTemplate;

}  // namespace retort
