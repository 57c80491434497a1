// Text as code points, with Python's ideas of white space and lower case: the reference metrics are Python
// programs.
#pragma once

#include <string>
#include <string_view>

namespace retort {

// Invalid bytes become U+FFFD each.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);

// str.isspace() of one character.
bool is_space(char32_t c);
// str.lower(): simple mappings, and the two cases that are longer or depend on context (dotted capital I,
// final sigma).
std::u32string lower_case(std::u32string_view text);

}  // namespace retort
