// encode_dialogue and encode_prompt for many dialogues: what both need to know of the tokenizer is looked up
// once.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "data/example.h"

namespace retort {

class DialogueEncoder {
 public:
  // Both must outlive the encoder. Its functions may run in several threads at once.
  DialogueEncoder(const Tokenizer& tokenizer, const ChatTemplate& chat_template);

  // One example that teaches every answer. Where the template prints an answer otherwise once more follows
  // (R1 and Qwen3 leave out what was thought), one example for each answer: its own prompt, and the answer as
  // it was given.
  std::vector<Example> encode_turns(std::span<const Message> messages) const;
  Example encode(std::span<const Message> messages) const;  // of several, that of the last answer
  std::vector<TokenId> encode_prompt(std::span<const Message> messages) const;

 private:
  struct Range {
    std::size_t begin, end;
  };
  // A dialogue whose messages hold spellings of added tokens, each replaced by a mark that no message
  // contains.
  struct Marked {
    std::vector<Message> messages;  // empty: no message holds any, the originals serve
    std::vector<std::string> marks, spellings;
    std::vector<std::size_t> plain_messages;  // those to be encoded as a whole without added tokens
  };
  struct Rendered {
    std::string text;
    std::vector<Range> plain;  // ascending: to be encoded without added tokens
    Marked marked;
  };

  std::string_view spelling_at(std::string_view text, bool special_only) const;
  Marked mark(std::span<const Message> messages) const;
  Rendered render(std::span<const Message> messages, bool add_generation_prompt) const;
  void find_plain(Rendered& rendered) const;
  std::size_t end_of_answer(std::string_view answer) const;
  std::string answer_of(const std::string& prompt, const std::string& until, const Message& message) const;
  std::optional<Example> encode_whole(std::span<const Message> messages) const;
  Example encode_answer(std::span<const Message> messages) const;
  bool find_turn(const std::string& text, std::span<const Message> messages, std::size_t turn,
                 Range& found) const;
  void append_tokens(const Rendered& rendered, Range range, bool target, Example& example) const;

  const Tokenizer& tokenizer_;
  const ChatTemplate& template_;
  std::array<std::vector<const AddedToken*>, 256> added_;  // by first byte, longest first
};

}  // namespace retort
