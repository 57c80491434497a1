#include "evaluate/summary.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "evaluate/metrics/unicode.h"

namespace retort {

std::int64_t count_chars(std::string_view text) {
  return static_cast<std::int64_t>(decode_utf8(text).size());
}

void judge_texts(JudgedPair& pair, const EvaluateOptions& options) {
  pair.bleu = bleu_counts(pair.hypothesis, pair.reference, {.tokenize = options.bleu_tokenize});
  const RougeScore rouge = rouge_score(pair.hypothesis, pair.reference, rouge_unit(options.rouge_unit));
  pair.rouge_1 = rouge.rouge1;
  pair.rouge_2 = rouge.rouge2;
  pair.rouge_l = rouge.rouge_l;
  pair.reference_chars = count_chars(pair.reference);
}

double corpus_bleu4(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices) {
  BleuCounts sum;
  for (const std::int32_t i : indices) sum += pairs[static_cast<std::size_t>(i)].bleu;
  return bleu_score(sum, {});
}

double corpus_nats_per_char(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices) {
  double nats = 0, chars = 0;
  for (const std::int32_t i : indices) {
    nats += pairs[static_cast<std::size_t>(i)].negative_log_likelihood;
    chars += static_cast<double>(pairs[static_cast<std::size_t>(i)].reference_chars);
  }
  return chars > 0 ? nats / chars : 0;
}

double mean_rouge_l(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices) {
  double sum = 0;
  for (const std::int32_t i : indices) sum += pairs[static_cast<std::size_t>(i)].rouge_l;
  return indices.empty() ? 0 : sum / static_cast<double>(indices.size());
}

void summarize(Evaluation& evaluation, const EvaluateOptions& options) {
  const std::vector<JudgedPair>& pairs = evaluation.pairs;
  if (pairs.empty())
    throw Error({.where = "evaluation",
                 .found = "no pair that can be judged",
                 .expected = "records of one user message and one answer",
                 .advice = evaluation.skipped.first.empty()
                               ? "Check the data file."
                               : "First one skipped: " + evaluation.skipped.first.front()});
  const auto n = static_cast<std::int64_t>(pairs.size());
  const auto interval = [&](const auto& score) {
    return bootstrap(n, [&](std::span<const std::int32_t> indices) { return score(pairs, indices); });
  };
  std::vector<std::int32_t> all(pairs.size());
  std::iota(all.begin(), all.end(), 0);

  if (evaluation.has_answers) {
    evaluation.bleu4 = corpus_bleu4(pairs, all);
    evaluation.bleu4_interval = interval(corpus_bleu4);
    evaluation.rouge_l = mean_rouge_l(pairs, all);
    evaluation.rouge_l_interval = interval(mean_rouge_l);
    double rouge_1 = 0, rouge_2 = 0;
    for (const JudgedPair& pair : pairs) rouge_1 += pair.rouge_1, rouge_2 += pair.rouge_2;
    evaluation.rouge_1 = rouge_1 / static_cast<double>(n);
    evaluation.rouge_2 = rouge_2 / static_cast<double>(n);
    evaluation.bleu_signature = bleu_signature({.tokenize = options.bleu_tokenize});
    evaluation.bleu_tokenize = options.bleu_tokenize;
    evaluation.rouge_unit = options.rouge_unit;
  }
  if (evaluation.has_likelihood) {
    double nats = 0, tokens = 0;
    for (const JudgedPair& pair : pairs)
      nats += pair.negative_log_likelihood, tokens += static_cast<double>(pair.target_tokens);
    evaluation.nats_per_token = nats / tokens;
    evaluation.perplexity = std::exp(evaluation.nats_per_token);
    evaluation.nats_per_char = corpus_nats_per_char(pairs, all);
    evaluation.nats_per_char_interval = interval(corpus_nats_per_char);
  }
}

Json Evaluation::to_json() const {
  Json out = {{"pairs", pairs.size()}};
  const auto add = [&](const char* name, double value, const Interval& interval) {
    out[name] = value;
    out[std::string(name) + "_interval"] = {interval.low, interval.high};
  };
  if (has_answers) {
    add("bleu4", bleu4, bleu4_interval);
    out["rouge_1"] = rouge_1;
    out["rouge_2"] = rouge_2;
    add("rouge_l", rouge_l, rouge_l_interval);
    out["bleu_signature"] = bleu_signature;
    out["bleu_tokenize"] = bleu_tokenize;
    out["rouge_unit"] = rouge_unit;
  }
  if (has_likelihood) {
    out["nats_per_token"] = nats_per_token;
    out["perplexity"] = perplexity;
    add("nats_per_char", nats_per_char, nats_per_char_interval);
  }
  if (tokens_per_second > 0) out["tokens_per_second"] = tokens_per_second;
  if (latency_median_ms > 0) {
    out["latency_median_ms"] = latency_median_ms;
    out["latency_p99_ms"] = latency_p99_ms;
  }
  if (peak_memory_bytes > 0) out["peak_memory_bytes"] = peak_memory_bytes;
  out["skipped"] = {{"count", skipped.count}, {"first", skipped.first}};
  return out;
}

namespace {

// Indices of a pair in two evaluations.
using Match = std::pair<std::int32_t, std::int32_t>;

// The pairs that both have. Each list is the common file's order with gaps; equal pairs are matched one to
// one.
std::vector<Match> common_pairs(const std::vector<JudgedPair>& a, const std::vector<JudgedPair>& b) {
  using Key = std::pair<std::string_view, std::string_view>;
  std::map<Key, std::vector<std::int32_t>> places;  // in b, last one first
  for (std::size_t i = b.size(); i-- > 0;)
    places[{b[i].source, b[i].reference}].push_back(static_cast<std::int32_t>(i));
  std::vector<Match> matches;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto found = places.find({a[i].source, a[i].reference});
    if (found == places.end() || found->second.empty()) continue;
    matches.emplace_back(static_cast<std::int32_t>(i), found->second.back());
    found->second.pop_back();
  }
  return matches;
}

}  // namespace

Comparison compare(const Evaluation& a, const Evaluation& b) {
  const std::vector<Match> matches = common_pairs(a.pairs, b.pairs);
  if (matches.empty())
    throw Error(
        {.where = "comparison",
         .found = fmt::format("no pair that is among the {} and the {}", a.pairs.size(), b.pairs.size()),
         .expected = "two evaluations of the same data",
         .advice = "Evaluate both with the same data and limit."});
  const auto difference = [&](const auto& score) {
    std::vector<std::int32_t> of_a, of_b;
    return bootstrap(static_cast<std::int64_t>(matches.size()), [&](std::span<const std::int32_t> sample) {
      of_a.clear(), of_b.clear();
      for (const std::int32_t i : sample) {
        of_a.push_back(matches[static_cast<std::size_t>(i)].first);
        of_b.push_back(matches[static_cast<std::size_t>(i)].second);
      }
      return score(a.pairs, of_a) - score(b.pairs, of_b);
    });
  };
  Comparison result;
  result.pairs = matches.size();
  if (a.has_answers && b.has_answers) {
    result.bleu4 = difference(corpus_bleu4);
    result.rouge_l = difference(mean_rouge_l);
  }
  if (a.has_likelihood && b.has_likelihood) result.nats_per_char = difference(corpus_nats_per_char);
  return result;
}

}  // namespace retort
