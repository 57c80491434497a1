// A template's source as tokens, with white space cut as Jinja does under transformers' settings
// (trim_blocks, lstrip_blocks, no trailing newline).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/jinja/value.h"

namespace retort::jinja {

struct Token {
  enum class Kind { data, print_begin, print_end, block_begin, block_end, name, constant, sign, end };
  Kind kind;
  std::string text;  // data, a name, a sign
  Value value;       // of a constant: a number or text
  int line;
};

// Throws Error naming `where` and the line. The last token is of kind end.
std::vector<Token> tokenize(std::string_view source, const std::string& where);

}  // namespace retort::jinja
