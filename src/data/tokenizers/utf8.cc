#include "data/tokenizers/utf8.h"

#include <algorithm>

namespace retort {
namespace {

// How many bytes at `at` begin a well-formed sequence (Unicode, table 3-7), and how many that sequence would
// have. The first is 0 for a byte that begins none; the second is then 1.
struct Utf8Sequence {
  int present, wanted;
};

Utf8Sequence sequence_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, 1};
  if (lead < 0xC2 || lead > 0xF4) return {0, 1};
  const int wanted = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;  // no overlong forms
  // No surrogates, nothing above U+10FFFF.
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  const std::size_t left = text.size() - at;
  int present = 1;
  if (left > 1 && byte(1) >= low && byte(1) <= high) {
    present = 2;
    while (present < wanted && static_cast<std::size_t>(present) < left &&
           (byte(static_cast<std::size_t>(present)) & 0xC0) == 0x80)
      ++present;
  }
  return {present, wanted};
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const Utf8Sequence sequence = sequence_at(text, at);
  if (sequence.present != sequence.wanted) return {0xFFFD, 1};
  switch (sequence.wanted) {
    case 2:
      return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
    case 3:
      return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
    default:
      return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
  }
}

void append_utf8(std::string& text, char32_t value) {
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) value = 0xFFFD;
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (value < 0x80) {
    add(value);
  } else if (value < 0x800) {
    add(0xC0 | value >> 6), add(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    add(0xE0 | value >> 12), add(0x80 | (value >> 6 & 0x3F)), add(0x80 | (value & 0x3F));
  } else {
    add(0xF0 | value >> 18), add(0x80 | (value >> 12 & 0x3F)), add(0x80 | (value >> 6 & 0x3F)),
        add(0x80 | (value & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Sequence sequence = sequence_at(text, at);
    if (sequence.present != sequence.wanted) return false;
    at += static_cast<std::size_t>(sequence.wanted);
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Sequence sequence = sequence_at(text, at);
    const auto length = static_cast<std::size_t>(std::max(1, sequence.present));
    if (sequence.present == sequence.wanted)
      result.append(text.substr(at, length));
    else
      result += "\xEF\xBF\xBD";
    at += length;
  }
  return result;
}

}  // namespace retort
