// Whether an answer says what the reference says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizers/regex.h"

namespace retort {

// The number that an answer ends with: behind the last "####" (GSM8K), else the last one in the text; as
// written, without thousands separators, a plus sign, or zeros that say nothing ("1,200.50" is "1200.5").
std::optional<std::string> final_number(std::string_view text);

class AnswerCheck {
 public:
  // kind: none; number, equal final numbers; regex, equal last matches of `pattern`. Throws Error.
  AnswerCheck(std::string kind, const std::string& pattern);

  bool on() const { return kind_ != "none"; }
  // What of a text is compared; nullopt when it has none.
  std::optional<std::string> part(std::string_view text) const;
  bool right(std::string_view answer, std::string_view reference) const;

 private:
  std::string kind_;
  std::optional<Regex> pattern_;
};

}  // namespace retort
