// A compiled pattern of a tokenizer.json. The library it comes from matches with Oniguruma; PCRE2 in Unicode
// mode means the same once \s is spelled out (PCRE2 counts U+180E as a space, Unicode no longer does).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "data/tokenizers/utf8.h"

namespace retort {

class Regex {
 public:
  // Throws Error naming `where` and the offset of what cannot be compiled.
  Regex(std::string pattern, const std::string& where);
  ~Regex();
  Regex(Regex&&) noexcept;

  // The next match at or after `from`: [begin, end), or false. Safe in several threads. `text` must be valid
  // UTF-8.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;

  // A pattern that matches this text literally.
  static std::string escape(std::string_view literal);

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

// Where the search behind the match [begin, end) goes on; beyond the text when it is over. An empty match is
// left behind by a whole code point: the matcher must not be started inside of one.
inline std::size_t behind_match(std::string_view text, std::size_t begin, std::size_t end) {
  if (end > begin) return end;
  return end < text.size() ? end + static_cast<std::size_t>(code_point_at(text, end).length) : end + 1;
}

}  // namespace retort
