#include "data/tokenizers/byte_characters.h"

#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

bool prints_as_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

}  // namespace

const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> table = [] {
    std::array<std::string, 256> characters;
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte)
      append_utf8(characters[static_cast<std::size_t>(byte)],
                  prints_as_itself(byte) ? static_cast<char32_t>(byte) : next++);
    return characters;
  }();
  return table;
}

int byte_of_character(char32_t value) {
  static const std::array<int, 324> table = [] {
    std::array<int, 324> bytes;
    bytes.fill(-1);
    for (int byte = 0; byte < 256; ++byte)
      bytes[static_cast<std::size_t>(
          code_point_at(byte_characters()[static_cast<std::size_t>(byte)], 0).value)] = byte;
    return bytes;
  }();
  return value < table.size() ? table[value] : -1;
}

}  // namespace retort
