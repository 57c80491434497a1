// What a written answer must look like to be worth learning.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/options.h"
#include "data/tokenizers/regex.h"

namespace retort {

struct AnswerFilterOptions {
  std::int64_t min_chars = 1, max_chars = 0;  // Unicode code points; 0: no limit
  double max_repetition = 0.3;
  std::string pattern = {}, forbid = {};  // PCRE2, e.g. \p{Han} for a language's script
  void visit(OptionList& list);
};

class AnswerFilter {
 public:
  // Throws Error naming the key.
  explicit AnswerFilter(const AnswerFilterOptions& options);
  // Why the text is refused: "too short", "too long", "repeats itself", "lacks the pattern", "has what is
  // forbidden"; null when it is not.
  const char* refusal(std::string_view text) const;

 private:
  AnswerFilterOptions options_;
  std::optional<Regex> pattern_, forbid_;
};

// Share of the text's pieces of eight code points that occurred in it before: 0 for a text without loops,
// near 1 for one that goes round.
double repetition(std::string_view text);

}  // namespace retort
