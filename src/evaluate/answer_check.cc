#include "evaluate/answer_check.h"

#include "base/error.h"

namespace retort {
namespace {

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

// The last number of a text, sign included.
std::string_view last_number(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0 && !is_decimal(text[end - 1])) --end;
  std::size_t begin = end;
  const auto belongs = [&](std::size_t i) {
    return is_decimal(text[i]) || ((text[i] == ',' || text[i] == '.') && i > 0 && is_decimal(text[i - 1]));
  };
  while (begin > 0 && belongs(begin - 1)) --begin;
  // "3-4" is a difference, "= -4" a negative number.
  if (begin > 0 && text[begin - 1] == '-' && (begin == 1 || !is_decimal(text[begin - 2]))) --begin;
  return text.substr(begin, end - begin);
}

std::string normalized(std::string_view number) {
  std::string text;
  for (const char c : number)
    if (c != ',') text += c;
  const bool negative = text.starts_with('-');
  if (negative) text.erase(0, 1);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  text.erase(0, std::min(text.find_first_not_of('0'), text.size() - 1));
  if (text.starts_with('.')) text.insert(0, "0");
  return negative && text != "0" ? "-" + text : text;
}

}  // namespace

std::optional<std::string> final_number(std::string_view text) {
  const std::size_t mark = text.rfind("####");
  const std::string_view number = last_number(mark == std::string_view::npos ? text : text.substr(mark + 4));
  if (number.empty()) return std::nullopt;
  return normalized(number);
}

AnswerCheck::AnswerCheck(std::string kind, const std::string& pattern) : kind_(std::move(kind)) {
  if (kind_ != "none" && kind_ != "number" && kind_ != "regex")
    throw Error({.where = "check", .found = kind_, .expected = "none, number or regex"});
  if ((kind_ == "regex") != !pattern.empty())
    throw Error({.where = "check_pattern",
                 .found = pattern.empty() ? "nothing" : pattern,
                 .expected = "a pattern with check: regex, and with that alone"});
  if (!pattern.empty()) pattern_.emplace(pattern, "check_pattern");
}

std::optional<std::string> AnswerCheck::part(std::string_view text) const {
  if (!pattern_) return final_number(text);
  std::optional<std::string> last;
  for (std::size_t from = 0, begin = 0, end = 0;
       from <= text.size() && pattern_->find(text, from, begin, end); from = behind_match(text, begin, end))
    last = std::string(text.substr(begin, end - begin));
  return last;
}

bool AnswerCheck::right(std::string_view answer, std::string_view reference) const {
  if (!on()) return true;
  const auto wanted = part(reference), found = part(answer);
  return wanted && found && *wanted == *found;
}

}  // namespace retort
