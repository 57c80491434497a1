#include "evaluate/metrics/bleu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/options.h"
#include "evaluate/metrics/unicode.h"

namespace retort {
namespace {

using NGram = std::array<int, 4>;  // token numbers; -1 beyond its order

std::vector<std::string> prepare(std::string_view text, const BleuOptions& options) {
  if (!options.lowercase) return bleu_tokenize(text, options.tokenize);
  return bleu_tokenize(encode_utf8(lower_case(decode_utf8(text))), options.tokenize);
}

std::vector<NGram> sorted_ngrams(const std::vector<int>& tokens, int order) {
  std::vector<NGram> ngrams;
  for (std::size_t i = 0; i + order <= tokens.size(); ++i) {
    NGram ngram = {-1, -1, -1, -1};
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(i), order, ngram.begin());
    ngrams.push_back(ngram);
  }
  std::sort(ngrams.begin(), ngrams.end());
  return ngrams;
}

// What two sorted lists share, repetitions clipped to the smaller count.
long count_common(const std::vector<NGram>& a, const std::vector<NGram>& b) {
  long common = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    if (*x < *y)
      ++x;
    else if (*y < *x)
      ++y;
    else
      ++common, ++x, ++y;
  }
  return common;
}

double smoothing_value(const BleuOptions& options) {
  if (options.smooth_value >= 0) return options.smooth_value;
  return options.smooth == "floor" ? 0.1 : 1.0;
}

void check_smoothing(const std::string& smooth) {
  const std::vector<std::string> known = {"exp", "floor", "add-k", "none"};
  if (std::find(known.begin(), known.end(), smooth) == known.end())
    throw Error(
        {.where = "BLEU smoothing", .found = smooth, .expected = "", .advice = suggest(smooth, known)});
}

}  // namespace

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (int n = 0; n < 4; ++n) {
    correct[n] += other.correct[n];
    total[n] += other.total[n];
  }
  hypothesis_length += other.hypothesis_length;
  reference_length += other.reference_length;
  return *this;
}

BleuCounts bleu_counts(std::string_view hypothesis, std::string_view reference, const BleuOptions& options) {
  std::unordered_map<std::string, int> numbers;
  const auto number = [&](const std::vector<std::string>& tokens) {
    std::vector<int> out;
    for (const std::string& token : tokens)
      out.push_back(numbers.try_emplace(token, static_cast<int>(numbers.size())).first->second);
    return out;
  };
  const std::vector<int> h = number(prepare(hypothesis, options)), r = number(prepare(reference, options));
  BleuCounts counts;
  counts.hypothesis_length = static_cast<long>(h.size());
  counts.reference_length = static_cast<long>(r.size());
  for (int order = 1; order <= 4; ++order) {
    const std::vector<NGram> ngrams = sorted_ngrams(h, order);
    counts.total[order - 1] = static_cast<long>(ngrams.size());
    counts.correct[order - 1] = count_common(ngrams, sorted_ngrams(r, order));
  }
  return counts;
}

double bleu_score(const BleuCounts& counts, const BleuOptions& options) {
  check_smoothing(options.smooth);
  if (std::all_of(std::begin(counts.correct), std::end(counts.correct), [](long c) { return c == 0; }))
    return 0;
  const double k = smoothing_value(options);
  double log_sum = 0, exp_divisor = 1;
  for (int n = 0; n < 4; ++n) {
    double correct = static_cast<double>(counts.correct[n]), total = static_cast<double>(counts.total[n]);
    if (options.smooth == "add-k" && n > 0) correct += k, total += k;
    if (total == 0) return 0;  // no n-gram of this order at all: undefined, by convention 0
    double precision = 100 * correct / total;
    if (correct == 0 && options.smooth == "exp") precision = 100 / ((exp_divisor *= 2) * total);
    if (correct == 0 && options.smooth == "floor") precision = 100 * k / total;
    if (precision == 0) return 0;
    log_sum += std::log(precision);
  }
  const double h = static_cast<double>(counts.hypothesis_length),
               r = static_cast<double>(counts.reference_length);
  const double brevity_penalty = h < r ? std::exp(1 - r / h) : 1;
  return brevity_penalty * std::exp(log_sum / 4);
}

std::string bleu_signature(const BleuOptions& options) {
  check_smoothing(options.smooth);
  std::string smooth = options.smooth;
  if (smooth == "floor" || smooth == "add-k") smooth += fmt::format("[{:.2f}]", smoothing_value(options));
  return fmt::format("nrefs:1|case:{}|eff:no|tok:{}|smooth:{}|version:retort-{}",
                     options.lowercase ? "lc" : "mixed", options.tokenize, smooth, RETORT_VERSION);
}

}  // namespace retort
