#include "data/answer_filter.h"

#include <fmt/format.h>

#include <cmath>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

constexpr std::size_t kPiece = 8;  // code points

// Where each code point begins, and the end of the text.
std::vector<std::size_t> code_point_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); i += static_cast<std::size_t>(code_point_at(text, i).length))
    starts.push_back(i);
  starts.push_back(text.size());
  return starts;
}

bool matches(const Regex& regex, std::string_view text) {
  std::size_t begin = 0, end = 0;
  return regex.find(text, 0, begin, end);
}

}  // namespace

double repetition(std::string_view text) {
  const std::vector<std::size_t> starts = code_point_starts(text);
  if (starts.size() <= kPiece + 1) return 0;
  const std::size_t pieces = starts.size() - kPiece;
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < pieces; ++i)
    seen.insert(text.substr(starts[i], starts[i + kPiece] - starts[i]));
  return 1 - static_cast<double>(seen.size()) / static_cast<double>(pieces);
}

void AnswerFilterOptions::visit(OptionList& list) {
  list.add("min_chars", min_chars, "characters of an answer at least");
  list.add("max_chars", max_chars, "characters of an answer at most; 0: no limit");
  list.add("max_repetition", max_repetition,
           "refuse answers in which a larger share of eight-character pieces occurred before");
  list.add("pattern", pattern, "regular expression that an answer must contain, e.g. '\\p{Han}' for Chinese");
  list.add("forbid", forbid, "regular expression that it must not contain");
}

AnswerFilter::AnswerFilter(const AnswerFilterOptions& options) : options_(options) {
  if (options.min_chars < 0 || options.max_chars < 0 ||
      (options.max_chars > 0 && options.max_chars < options.min_chars))
    throw Error({.where = "min_chars, max_chars",
                 .found = fmt::format("{}, {}", options.min_chars, options.max_chars),
                 .expected = "0 or more, the second not below the first"});
  if (!(options.max_repetition >= 0 && options.max_repetition <= 1))
    throw Error({.where = "max_repetition",
                 .found = fmt::format("{}", options.max_repetition),
                 .expected = "a share between 0 and 1"});
  if (!options.pattern.empty()) pattern_.emplace(options.pattern, "pattern");
  if (!options.forbid.empty()) forbid_.emplace(options.forbid, "forbid");
}

const char* AnswerFilter::refusal(std::string_view text) const {
  const auto chars = static_cast<std::int64_t>(code_point_starts(text).size()) - 1;
  if (chars < options_.min_chars) return "too short";
  if (options_.max_chars > 0 && chars > options_.max_chars) return "too long";
  if (repetition(text) > options_.max_repetition) return "repeats itself";
  if (pattern_ && !matches(*pattern_, text)) return "lacks the pattern";
  if (forbid_ && matches(*forbid_, text)) return "has what is forbidden";
  return nullptr;
}

}  // namespace retort
