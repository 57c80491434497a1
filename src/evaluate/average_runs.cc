#include "evaluate/average_runs.h"

#include <fmt/format.h>

#include "base/error.h"
#include "evaluate/summary.h"

namespace retort {
namespace {

void add_run(JudgedPair& sum, const JudgedPair& run) {
  sum.bleu += run.bleu;
  sum.rouge_1 += run.rouge_1;
  sum.rouge_2 += run.rouge_2;
  sum.rouge_l += run.rouge_l;
  sum.negative_log_likelihood += run.negative_log_likelihood;
  sum.target_tokens += run.target_tokens;
  sum.reference_chars += run.reference_chars;
}

}  // namespace

Evaluation average_runs(std::vector<Evaluation> runs, const EvaluateOptions& options,
                        const std::string& where) {
  if (runs.empty())
    throw Error({.where = where, .found = "no run", .expected = "at least one", .advice = ""});
  Evaluation result = std::move(runs.front());
  for (std::size_t run = 1; run < runs.size(); ++run) {
    const Evaluation& other = runs[run];
    if (other.pairs.size() != result.pairs.size() || other.has_answers != result.has_answers ||
        other.has_likelihood != result.has_likelihood)
      throw Error({.where = where,
                   .found = fmt::format("runs of {} and {} pairs", result.pairs.size(), other.pairs.size()),
                   .expected = "the same pairs, judged in the same way",
                   .advice = "Evaluate all with the same data and limit."});
    for (std::size_t i = 0; i < other.pairs.size(); ++i) {
      if (other.pairs[i].source != result.pairs[i].source ||
          other.pairs[i].reference != result.pairs[i].reference)
        throw Error({.where = where,
                     .found = fmt::format("another pair {} in run {}", i + 1, run + 1),
                     .expected = "the same pairs in the same order",
                     .advice = "Evaluate all with the same data and limit."});
      add_run(result.pairs[i], other.pairs[i]);
    }
  }
  const auto count = static_cast<double>(runs.size());
  for (JudgedPair& pair : result.pairs) {
    pair.rouge_1 /= count;
    pair.rouge_2 /= count;
    pair.rouge_l /= count;
  }
  summarize(result, options);
  return result;
}

}  // namespace retort
