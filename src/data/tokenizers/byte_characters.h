// GPT-2's map of the 256 bytes to printable characters, which byte-level vocabularies are written in.
#pragma once

#include <array>
#include <string>

namespace retort {

const std::array<std::string, 256>& byte_characters();  // as UTF-8
// Back; -1 for a character that stands for no byte.
int byte_of_character(char32_t value);

}  // namespace retort
