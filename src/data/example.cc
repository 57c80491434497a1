#include "data/example.h"

#include "data/dialogue_encoder.h"

namespace retort {

Example encode_dialogue(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        std::span<const Message> messages) {
  return DialogueEncoder(tokenizer, chat_template).encode(messages);
}

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                   std::span<const Message> messages) {
  return DialogueEncoder(tokenizer, chat_template).encode_prompt(messages);
}

Example encode_text(const Tokenizer& tokenizer, std::string_view text, std::optional<TokenId> end_token) {
  Example example;
  example.tokens = tokenizer.encode(text, {.add_special_tokens = true, .parse_added_tokens = false});
  // Some post-processors add the end token themselves.
  if (end_token && (example.tokens.empty() || example.tokens.back() != *end_token))
    example.tokens.push_back(*end_token);
  example.is_target.assign(example.tokens.size(), 1);
  if (!example.is_target.empty()) example.is_target[0] = 0;
  Record record;
  record.text = text;
  example.id = record.id();
  return example;
}

}  // namespace retort
