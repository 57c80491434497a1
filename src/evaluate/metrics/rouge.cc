#include "evaluate/metrics/rouge.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/options.h"
#include "evaluate/metrics/unicode.h"

namespace retort {
namespace {

// Han and kana: written without spaces between words.
bool stands_alone(char32_t c) {
  return (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x3FFFF) || (c >= 0x3040 && c <= 0x30FF) || (c >= 0x31F0 && c <= 0x31FF);
}

bool is_letter_or_digit(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||  // letters
         (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) ||  // marks on them
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);    // numbers
}

bool is_ascii_letter_or_digit(char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'0' && c <= U'9'); }

std::vector<std::u32string> tokenize(std::string_view text, RougeUnit unit) {
  const std::u32string points = lower_case(decode_utf8(text));
  std::vector<std::u32string> tokens;
  bool in_run = false;
  for (const char32_t c : points) {
    if (unit == RougeUnit::character && stands_alone(c)) {
      tokens.emplace_back(1, c);
      in_run = false;
    } else if (unit == RougeUnit::character ? is_letter_or_digit(c) : is_ascii_letter_or_digit(c)) {
      if (in_run)
        tokens.back() += c;
      else
        tokens.emplace_back(1, c);
      in_run = true;
    } else {
      in_run = false;
    }
  }
  return tokens;
}

double f_measure(double common, std::size_t hypothesis_count, std::size_t reference_count) {
  const double precision = common / static_cast<double>(std::max<std::size_t>(hypothesis_count, 1));
  const double recall = common / static_cast<double>(std::max<std::size_t>(reference_count, 1));
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

using Numbers = std::vector<int>;

// Pairs of neighbouring tokens as one number each.
std::vector<std::int64_t> sorted_bigrams(const Numbers& tokens) {
  std::vector<std::int64_t> out;
  for (std::size_t i = 1; i < tokens.size(); ++i)
    out.push_back(std::int64_t{tokens[i - 1]} << 32 | tokens[i]);
  std::sort(out.begin(), out.end());
  return out;
}

template <class T>
double f_of_sorted(const std::vector<T>& hypothesis, const std::vector<T>& reference) {
  std::vector<T> common;
  std::set_intersection(hypothesis.begin(), hypothesis.end(), reference.begin(), reference.end(),
                        std::back_inserter(common));
  return f_measure(static_cast<double>(common.size()), hypothesis.size(), reference.size());
}

int longest_common_subsequence(const Numbers& a, const Numbers& b) {
  std::vector<int> row(b.size() + 1);  // row[j]: of a's tokens so far and b's first j
  for (const int token : a) {
    int diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const int above = row[j + 1];
      row[j + 1] = token == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

RougeUnit rouge_unit(const std::string& name) {
  if (name == "word") return RougeUnit::word;
  if (name == "character") return RougeUnit::character;
  throw Error(
      {.where = "ROUGE unit", .found = name, .expected = "", .advice = suggest(name, {"word", "character"})});
}

RougeScore rouge_score(std::string_view hypothesis, std::string_view reference, RougeUnit unit) {
  std::unordered_map<std::u32string, int> known;
  const auto number = [&](std::string_view text) {
    Numbers out;
    for (std::u32string& token : tokenize(text, unit))
      out.push_back(known.try_emplace(std::move(token), static_cast<int>(known.size())).first->second);
    return out;
  };
  Numbers h = number(hypothesis), r = number(reference);
  RougeScore score;
  score.rouge_l = f_measure(longest_common_subsequence(h, r), h.size(), r.size());
  score.rouge2 = f_of_sorted(sorted_bigrams(h), sorted_bigrams(r));
  std::sort(h.begin(), h.end());
  std::sort(r.begin(), r.end());
  score.rouge1 = f_of_sorted(h, r);
  return score;
}

}  // namespace retort
