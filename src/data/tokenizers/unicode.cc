#include "data/tokenizers/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

#include "data/tokenizers/unicode_tables.inc"

constexpr char32_t kPoints = 0x110000;
constexpr std::uint8_t kCategory = 0x1F, kPunctuation = 0x20, kWord = 0x40, kUnstable = 0x80;

// One byte a code point. Most of it is never touched: unassigned pages stay the zero page.
const std::uint8_t* classes() {
  static const std::unique_ptr<std::uint8_t, decltype(&std::free)> table = [] {
    std::unique_ptr<std::uint8_t, decltype(&std::free)> bytes(
        static_cast<std::uint8_t*>(std::calloc(kPoints, 1)), &std::free);
    if (!bytes) throw std::bad_alloc();
    for (std::size_t i = 0; i < std::size(kClasses); ++i) {
      const char32_t begin = kClasses[i] >> 8,
                     end = i + 1 < std::size(kClasses) ? kClasses[i + 1] >> 8 : kPoints;
      const auto value = static_cast<std::uint8_t>(kClasses[i]);
      if (value != 0) std::fill(bytes.get() + begin, bytes.get() + end, value);
    }
    return bytes;
  }();
  return table.get();
}

std::uint8_t class_of(char32_t value) {
  static const std::uint8_t* const table = classes();
  return value < kPoints ? table[value] : 0;
}

bool is_category(char32_t value, Category first, Category last) {
  const Category here = category(value);
  return first <= here && here <= last;
}

template <std::size_t N>
bool in_ranges(const char32_t (&ranges)[N][2], char32_t value) {
  const auto range = std::upper_bound(std::begin(ranges), std::end(ranges), value,
                                      [](char32_t v, const char32_t(&r)[2]) { return v < r[0]; });
  return range != std::begin(ranges) && value <= (*(range - 1))[1];
}

void append_normalized(std::string& result, std::string_view text, int options) {
  if (text.empty()) return;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options));
  if (length < 0) {
    result += text;
    return;
  }
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  result.append(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
}

bool may_change(std::string_view text, UnicodeForm form) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    if (form != UnicodeForm::nfc) return true;
    const CodePoint point = code_point_at(text, at);
    if ((class_of(point.value) & kUnstable) != 0) return true;
    at += static_cast<std::size_t>(point.length);
  }
  return false;
}

}  // namespace

Category category(char32_t value) { return static_cast<Category>(class_of(value) & kCategory); }

bool is_letter(char32_t value) { return is_category(value, Category::Lu, Category::Lo); }
bool is_mark(char32_t value) { return is_category(value, Category::Mn, Category::Me); }
bool is_number(char32_t value) { return is_category(value, Category::Nd, Category::No); }

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t value) { return is_number(value) || in_ranges(kLaterNumbers, value); }
bool is_punctuation(char32_t value) { return (class_of(value) & kPunctuation) != 0; }
bool is_word_character(char32_t value) { return (class_of(value) & kWord) != 0; }

std::string normalize_unicode(std::string_view text, UnicodeForm form) {
  if (!may_change(text, form)) return std::string(text);
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  std::string result;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const auto end = at + static_cast<std::size_t>(point.length);
    if (in_ranges(kNotNormalized, point.value)) {
      append_normalized(result, text.substr(begin, at - begin), options);
      result.append(text.substr(at, end - at));
      begin = end;
    }
    at = end;
  }
  append_normalized(result, text.substr(begin), options);
  return result;
}

std::string lowercase(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const auto value = static_cast<std::int32_t>(point.value);
    const auto row = std::upper_bound(std::begin(kLowercase), std::end(kLowercase), value,
                                      [](std::int32_t v, const std::int32_t(&r)[4]) { return v < r[0]; });
    if (value == 0x130) {
      result += "i\xCC\x87";  // the one character whose lower case is two
    } else if (row != std::begin(kLowercase) && value <= (*(row - 1))[1] &&
               (value - (*(row - 1))[0]) % (*(row - 1))[3] == 0) {
      append_utf8(result, static_cast<char32_t>(value + (*(row - 1))[2]));
    } else {
      result.append(text.substr(at, static_cast<std::size_t>(point.length)));
    }
    at += static_cast<std::size_t>(point.length);
  }
  return result;
}

}  // namespace retort
