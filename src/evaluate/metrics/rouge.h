// ROUGE-1, -2 and -L F-measures, equal to Google's rouge-score without stemming (Lin 2004).
//
// word:      rouge-score's own tokens: lower case, runs of a-z and 0-9; everything else separates. Chinese
//            text has none.
// character: for Chinese and mixed text. Lower case; each Han or kana character is a token; a run of other
//            Unicode letters, marks and numbers is one token; the rest separates. This is rouge-score with
//            that tokenizer in place of its own.
#pragma once

#include <string>
#include <string_view>

namespace retort {

enum class RougeUnit { word, character };
// By name. Throws Error for an unknown one.
RougeUnit rouge_unit(const std::string& name);

struct RougeScore {
  double rouge1 = 0, rouge2 = 0, rouge_l = 0;  // F1, 0 … 1
};

RougeScore rouge_score(std::string_view hypothesis, std::string_view reference, RougeUnit unit);

}  // namespace retort
