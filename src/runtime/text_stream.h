// Tokens of an answer as text, piece by piece as they come: no piece ends inside a character, and nothing is
// handed out that may yet turn out to be part of a stop string.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "data/tokenizer.h"

namespace retort {

class TextStream {
 public:
  // Special tokens (<|im_end|> …) give no text. The tokenizer must outlive the stream.
  explicit TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop = {});

  // The text that is certain now; empty when none is.
  std::string push(TokenId token);
  // What was held back, at the end of the answer. Bytes that are no UTF-8 become U+FFFD.
  std::string finish();
  // A stop string has come: it and what follows are no part of the text.
  bool stopped() const { return stopped_; }

 private:
  std::string take(std::size_t bytes);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stop_;
  std::unordered_set<TokenId> special_;
  std::string held_;
  bool first_ = true, stopped_ = false;
};

}  // namespace retort
