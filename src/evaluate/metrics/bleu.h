// Corpus BLEU-4, equal to sacrebleu (Post 2018): tokenization, brevity penalty, smoothing and signature.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

struct BleuOptions {
  std::string tokenize = "13a";  // 13a, zh, char, none
  std::string smooth = "exp";    // exp, floor, add-k, none
  double smooth_value = -1;      // < 0: sacrebleu's default for the method (floor 0.1, add-k 1)
  bool lowercase = false;
};

// Counts of one sentence; they add up over a corpus, which is what bootstrap resampling needs.
struct BleuCounts {
  long correct[4] = {}, total[4] = {};
  long hypothesis_length = 0, reference_length = 0;
  BleuCounts& operator+=(const BleuCounts& other);
};

// The names that BleuOptions::tokenize may have.
std::vector<std::string> bleu_tokenizers();
// Throws Error for an unknown name.
std::vector<std::string> bleu_tokenize(std::string_view text, const std::string& tokenize);
BleuCounts bleu_counts(std::string_view hypothesis, std::string_view reference, const BleuOptions& options);
double bleu_score(const BleuCounts& counts, const BleuOptions& options);  // 0 … 100
// "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:…" with Retort's version.
std::string bleu_signature(const BleuOptions& options);

}  // namespace retort
