// ROUGE-1, -2 and -L F-measures, equal to Google's rouge-score without stemming; a character mode for Chinese (each CJK
// character is a token, runs of other letters and digits are one).
#pragma once

#include <string>
#include <string_view>

namespace retort {

enum class RougeUnit { word, character };

struct RougeScore {
  double rouge1 = 0, rouge2 = 0, rouge_l = 0;  // F1, 0 … 1
};

RougeScore rouge_score(std::string_view hypothesis, std::string_view reference, RougeUnit unit);

}  // namespace retort
