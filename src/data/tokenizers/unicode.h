// UTF-8 in and out, normalization forms, and the byte ↔ printable character map of byte-level vocabularies.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

// The code point at `at` and its length in bytes; an invalid byte gives U+FFFD and length 1.
struct CodePoint {
  char32_t value;
  int length;
};
CodePoint code_point_at(std::string_view text, std::size_t at);
void append_utf8(std::string& text, char32_t value);
bool is_valid_utf8(std::string_view text);
// Invalid parts replaced by U+FFFD, one for each maximal subpart (as the WHATWG decoder does).
std::string replace_invalid_utf8(std::string_view text);

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
std::string normalize_unicode(std::string_view text, UnicodeForm form);
std::string lowercase(std::string_view text);  // full mapping, character by character

bool is_white_space(char32_t value);  // Unicode's White_Space property
bool is_numeric(char32_t value);      // categories Nd, Nl, No
bool is_punctuation(char32_t value);  // ASCII punctuation or category P
bool is_word_character(char32_t value);  // letter, mark, number or connector (\w)

// GPT-2's map of the 256 bytes to printable characters, as UTF-8.
const std::array<std::string, 256>& byte_characters();
// Back; -1 for a character that stands for no byte.
int byte_of_character(char32_t value);

}  // namespace retort
