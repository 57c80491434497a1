// sacrebleu's tokenizers (sacrebleu 2.6, tokenizers/), to the letter. The regular expressions of the original
// are single passes over one or two characters and are written out as such.
#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/options.h"
#include "evaluate/metrics/bleu.h"
#include "evaluate/metrics/unicode.h"

namespace retort {
namespace {

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_point(char32_t c) { return c == U'.' || c == U','; }
// ASCII punctuation and space, without ' , - . : those depend on their neighbours.
bool is_separate(char32_t c) {
  return (c >= U'{' && c <= U'~') || (c >= U'[' && c <= U'`') || (c >= U' ' && c <= U'&') ||
         (c >= U'(' && c <= U'+') || (c >= U':' && c <= U'@') || c == U'/';
}

// re.sub of a two-character pattern: matches do not overlap.
template <class Matches, class Emit>
std::u32string replace_pairs(const std::u32string& text, Matches matches, Emit emit) {
  std::u32string out;
  out.reserve(text.size() + text.size() / 4);
  for (std::size_t i = 0; i < text.size();) {
    if (i + 1 < text.size() && matches(text[i], text[i + 1])) {
      emit(out, text[i], text[i + 1]);
      i += 2;
    } else {
      out += text[i++];
    }
  }
  return out;
}

// TokenizerRegexp: mteval-v13a's language-dependent part.
std::u32string separate_punctuation(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size() * 2);
  for (const char32_t c : text) {
    if (is_separate(c))
      (out += U' ') += c, out += U' ';
    else
      out += c;
  }
  const auto split_both = [](std::u32string& o, char32_t a, char32_t b) {
    ((o += a) += U' ') += b, o += U' ';
  };
  out = replace_pairs(
      out, [](char32_t a, char32_t b) { return !is_digit(a) && is_point(b); }, split_both);
  out = replace_pairs(
      out, [](char32_t a, char32_t b) { return is_point(a) && !is_digit(b); },
      [](std::u32string& o, char32_t a, char32_t b) { ((o += U' ') += a) += U' ', o += b; });
  return replace_pairs(
      out, [](char32_t a, char32_t b) { return is_digit(a) && b == U'-'; }, split_both);
}

void replace_all(std::u32string& text, std::u32string_view from, std::u32string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::u32string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

std::u32string tokenize_13a(std::u32string text) {
  replace_all(text, U"<skipped>", U"");
  replace_all(text, U"-\n", U"");
  replace_all(text, U"\n", U" ");
  replace_all(text, U"&quot;", U"\"");
  replace_all(text, U"&amp;", U"&");
  replace_all(text, U"&lt;", U"<");
  replace_all(text, U"&gt;", U">");
  return separate_punctuation(U" " + text + U" ");
}

// sacrebleu's table. Its two ranges beyond the first plane are written "\u20000"…"\u2a6d6" and
// "\u2f800"…"\u2fa1d", which Python reads as two characters each; compared as strings they mean U+2001…U+2A6D
// and U+2F81…U+2FA1. So arrows, dashes and curly quotes count as Chinese and ideographs of extension B do
// not: scores are equal only if that is kept.
bool is_chinese(char32_t c) {
  constexpr char32_t kRanges[][2] = {{0x2001, 0x2A6D}, {0x2E80, 0x2EFF}, {0x2F00, 0x2FDF}, {0x2FF0, 0x2FFF},
                                     {0x3000, 0x303F}, {0x3100, 0x312F}, {0x31A0, 0x31BF}, {0x31C0, 0x31EF},
                                     {0x3200, 0x33FF}, {0x3400, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D},
                                     {0xFA30, 0xFA6A}, {0xFA70, 0xFAD9}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F},
                                     {0xFF00, 0xFFEF}};
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const char32_t(&range)[2]) { return c >= range[0] && c <= range[1]; });
}

std::u32string tokenize_zh(std::u32string text) {
  // The original strips here, which decides whether a leading or trailing point has a neighbour.
  std::size_t begin = 0, end = text.size();
  while (begin < end && is_space(text[begin])) ++begin;
  while (end > begin && is_space(text[end - 1])) --end;
  std::u32string out;
  out.reserve(text.size() * 3);
  for (std::size_t i = begin; i < end; ++i) {
    if (is_chinese(text[i]))
      (out += U' ') += text[i], out += U' ';
    else
      out += text[i];
  }
  return separate_punctuation(out);
}

std::u32string tokenize_char(std::u32string text) {
  std::u32string out;
  out.reserve(text.size() * 2);
  for (const char32_t c : text) (out += c) += U' ';
  return out;
}

std::u32string tokenize_none(std::u32string text) { return text; }

struct Row {
  const char* name;
  std::u32string (*tokenize)(std::u32string);
};
constexpr Row kTokenizers[] = {
    {"13a", tokenize_13a}, {"zh", tokenize_zh}, {"char", tokenize_char}, {"none", tokenize_none}};

}  // namespace

std::vector<std::string> bleu_tokenizers() {
  std::vector<std::string> names;
  for (const Row& row : kTokenizers) names.emplace_back(row.name);
  return names;
}

std::vector<std::string> bleu_tokenize(std::string_view text, const std::string& tokenize) {
  const Row* row = std::find_if(std::begin(kTokenizers), std::end(kTokenizers),
                                [&](const Row& r) { return r.name == tokenize; });
  if (row == std::end(kTokenizers))
    throw Error({.where = "BLEU tokenizer",
                 .found = tokenize,
                 .expected = "",
                 .advice = suggest(tokenize, bleu_tokenizers())});
  std::u32string points = decode_utf8(text);
  while (!points.empty() && is_space(points.back())) points.pop_back();
  points = row->tokenize(std::move(points));

  std::vector<std::string> tokens;
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin;
    while (end < points.size() && !is_space(points[end])) ++end;
    if (end > begin) tokens.push_back(encode_utf8(std::u32string_view(points).substr(begin, end - begin)));
    begin = end + 1;
  }
  return tokens;
}

}  // namespace retort
