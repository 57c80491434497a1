// What kind of character a code point is, and normalization forms: as the `tokenizers` library sees them,
// whose parts carry tables of several Unicode versions (scripts/make-unicode-tables.py asks it and writes
// ours).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

// General categories in the order of unicode_tables.inc.
enum class Category : std::uint8_t {
  Cn,
  Cc,
  Cf,
  Co,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp
};
Category category(char32_t value);

// Of regular expressions: \p{L}, \p{M}, \p{N}, \s.
bool is_letter(char32_t value);
bool is_mark(char32_t value);
bool is_number(char32_t value);
bool is_white_space(char32_t value);
// Of the pre-tokenizers Digits, Punctuation and Whitespace.
bool is_numeric(char32_t value);
bool is_punctuation(char32_t value);
bool is_word_character(char32_t value);

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
std::string normalize_unicode(std::string_view text, UnicodeForm form);  // what is not UTF-8 is left as it is
std::string lowercase(std::string_view text);  // full mapping, character by character

}  // namespace retort
