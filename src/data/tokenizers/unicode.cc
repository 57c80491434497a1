#include "data/tokenizers/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

namespace retort {

CodePoint code_point_at(std::string_view text, std::size_t at) {
  utf8proc_int32_t value = 0;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                       static_cast<utf8proc_ssize_t>(text.size() - at), &value);
  if (length <= 0) return {0xFFFD, 1};
  return {static_cast<char32_t>(value), static_cast<int>(length)};
}

void append_utf8(std::string& text, char32_t value) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t value = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                         static_cast<utf8proc_ssize_t>(text.size() - at), &value);
    if (length <= 0) return false;
    at += static_cast<std::size_t>(length);
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const CodePoint point = code_point_at(text, at);
    const bool valid = point.value != 0xFFFD || text.substr(at, 3) == "\xEF\xBF\xBD";
    if (valid) {
      result.append(
          text.substr(at, static_cast<std::size_t>(valid && point.value == 0xFFFD ? 3 : point.length)));
      at += static_cast<std::size_t>(point.value == 0xFFFD ? 3 : point.length);
      continue;
    }
    // The longest prefix of a well-formed sequence counts as one error (Unicode 15, table 3-7).
    const auto byte = [&](std::size_t offset) {
      return at + offset < text.size() ? static_cast<unsigned char>(text[at + offset]) : 0u;
    };
    const auto continues = [&](std::size_t offset) { return (byte(offset) & 0xC0u) == 0x80u; };
    std::size_t bad = 1;
    if (lead >= 0xE0 && lead <= 0xEF) {
      const bool second = (lead == 0xE0   ? byte(1) >= 0xA0 && byte(1) <= 0xBF
                           : lead == 0xED ? byte(1) >= 0x80 && byte(1) <= 0x9F
                                          : continues(1));
      if (second) bad = 2;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      const bool second = (lead == 0xF0   ? byte(1) >= 0x90 && byte(1) <= 0xBF
                           : lead == 0xF4 ? byte(1) >= 0x80 && byte(1) <= 0x8F
                                          : continues(1));
      if (second) bad = continues(2) ? 3 : 2;
    }
    result += "\xEF\xBF\xBD";
    at += bad;
  }
  return result;
}

std::string normalize_unicode(std::string_view text, UnicodeForm form) {
  bool ascii = true;
  for (const char c : text) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (ascii) return std::string(text);
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options));
  if (length < 0) return std::string(text);  // not UTF-8: left as it is
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
}

std::string lowercase(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    // The one character whose lower case is two (UnicodeData's SpecialCasing, unconditional).
    if (point.value == 0x130)
      result += "i\xCC\x87";
    else if (point.value == 0xFFFD)
      result.append(text.substr(at, static_cast<std::size_t>(point.length)));
    else
      append_utf8(result,
                  static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value))));
    at += static_cast<std::size_t>(point.length);
  }
  return result;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_word_character(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO) ||
         category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D;
}

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
