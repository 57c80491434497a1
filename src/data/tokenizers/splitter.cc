#include "data/tokenizers/splitter.h"

#include <limits>

#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

constexpr int kAnyLength = std::numeric_limits<int>::max();

bool is_line_break(char32_t value) { return value == '\r' || value == '\n'; }
// Letters are asked about before.
bool is_symbol(char32_t value) { return !is_white_space(value) && !is_number(value); }

std::size_t past(std::size_t at, const CodePoint& point) {
  return at + static_cast<std::size_t>(point.length);
}

// Where the run of characters that satisfy `belongs` ends, of at most `limit` characters.
template <class Predicate>
std::size_t end_of_run(std::string_view text, std::size_t at, Predicate belongs, int limit = kAnyLength) {
  for (; at < text.size() && limit > 0; --limit) {
    const CodePoint point = code_point_at(text, at);
    if (!belongs(point.value)) break;
    at = past(at, point);
  }
  return at;
}

// Length of 's 't 'm 'd 're 've 'll at an apostrophe, or 0. With `fold`, U+017F is an s too.
std::size_t contraction(std::string_view text, std::size_t at, bool fold) {
  const auto letter = [&](std::size_t i) {
    const char c = at + i < text.size() ? text[at + i] : '\0';
    return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = letter(1), second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  return fold && text.compare(at + 1, 2, "\u017F") == 0 ? 3 : 0;
}

}  // namespace

std::optional<Splitter> Splitter::for_pattern(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return Splitter(Style::gpt2, kAnyLength, false);
  if (pattern == kQwen2Pattern) return Splitter(Style::cl100k, 1, false);
  if (pattern == kQwen3_5Pattern) return Splitter(Style::cl100k, 1, true);
  if (pattern == kLlama3Pattern || pattern == kCl100kPattern) return Splitter(Style::cl100k, 3, false);
  return std::nullopt;
}

bool Splitter::in_word(char32_t value) const { return is_letter(value) || (marks_join_ && is_mark(value)); }

std::size_t Splitter::end_of_piece(std::string_view text, std::size_t at) const {
  const bool gpt2 = style_ == Style::gpt2;
  const CodePoint first = code_point_at(text, at);
  if (first.value == '\'')
    if (const std::size_t length = contraction(text, at, /*fold=*/!gpt2); length > 0) return at + length;

  const auto word = [&](char32_t c) { return in_word(c); };
  const auto symbol = [&](char32_t c) { return is_symbol(c) && !in_word(c); };
  if (word(first.value)) return end_of_run(text, past(at, first), word);
  if (is_number(first.value)) return end_of_run(text, at, is_number, longest_number_);

  const std::size_t next = past(at, first);
  const CodePoint second = next < text.size() ? code_point_at(text, next) : CodePoint{' ', 0};
  const bool leads = gpt2 ? first.value == ' ' : !is_line_break(first.value);
  if (leads && word(second.value)) return end_of_run(text, next, word);
  if (gpt2 && first.value == ' ' && is_number(second.value)) return end_of_run(text, next, is_number);
  if (symbol(first.value) || (first.value == ' ' && symbol(second.value))) {
    const std::size_t end = end_of_run(text, next, symbol);
    return gpt2 ? end : end_of_run(text, end, is_line_break);
  }

  // White space: up to its last line break; else all of it at the end of the text; else all but the last,
  // which leads what follows.
  std::size_t end = at, before_last = at, after_break = at;
  while (end < text.size()) {
    const CodePoint point = code_point_at(text, end);
    if (!is_white_space(point.value)) break;
    before_last = end;
    end = past(end, point);
    if (is_line_break(point.value)) after_break = end;
  }
  if (!gpt2 && after_break > at) return after_break;
  return end == text.size() || before_last == at ? end : before_last;
}

}  // namespace retort
