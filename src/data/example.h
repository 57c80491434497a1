// One training example as tokens, and how dialogues become one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace retort {

// A record of a source: a dialogue (pairs are a user and an assistant message), or plain text in `text`.
struct Record {
  std::vector<Message> messages;
  std::string text;
  // Identity: a hash of the content, so that the split stays as it is when data grows or is reordered.
  std::uint64_t id() const;
};

struct Example {
  std::vector<TokenId> tokens;
  std::vector<std::uint8_t> is_target;  // per token: the model is to predict this token (never the first)
  std::uint64_t id = 0;                 // Record::id
  std::int32_t source = 0;              // index of the source in a mixture
  float weight = 1;
};

// Tokens of a dialogue in the model's own format; targets are what the assistant says, its end token
// included. Text that happens to contain an added token's spelling stays text. Where the template prints
// answers otherwise once more follows, the targets are the last answer (DialogueEncoder::encode_turns gives
// them all).
Example encode_dialogue(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        std::span<const Message> messages);
// Tokens up to where the assistant is to speak.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                   std::span<const Message> messages);
// Plain text, every token a target but the first; `end_token` is appended when given.
Example encode_text(const Tokenizer& tokenizer, std::string_view text, std::optional<TokenId> end_token);

}  // namespace retort
