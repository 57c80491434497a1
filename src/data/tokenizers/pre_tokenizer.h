// Pre-tokenizers of a tokenizer.json: how normalized text is cut into pieces that the model merges within.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace retort {

struct TextPiece {
  std::string text;
  bool at_start;  // of the whole input: Metaspace's "first" looks at it
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual std::vector<TextPiece> split(std::vector<TextPiece> pieces) const = 0;
};

// ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation, Sequence. Null for null.
// Throws Error naming an unknown type.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where);

}  // namespace retort
