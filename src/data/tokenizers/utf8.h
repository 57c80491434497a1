// UTF-8 in and out.
#pragma once

#include <string>
#include <string_view>

namespace retort {

// The code point at `at` and its length in bytes; an invalid byte gives U+FFFD and length 1.
struct CodePoint {
  char32_t value;
  int length;
};
CodePoint code_point_at(std::string_view text, std::size_t at);
void append_utf8(std::string& text, char32_t value);  // a value that is no scalar becomes U+FFFD
bool is_valid_utf8(std::string_view text);
// Invalid parts replaced by U+FFFD, one for each maximal subpart (as the WHATWG decoder does).
std::string replace_invalid_utf8(std::string_view text);

}  // namespace retort
