// Evaluation of texts that are there already: files of lines, and written outputs.
#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "evaluate/evaluate.h"
#include "evaluate/summary.h"

namespace retort {
namespace {

// Calls visit(line, number) for each line; the last need not end with a line break.
template <class Visit>
void for_each_line(std::string_view text, const Visit& visit) {
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    visit(line, ++number);
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  const MappedFile file(path);
  for_each_line(file.text(), [&](std::string_view line, std::int64_t) { lines.emplace_back(line); });
  return lines;
}

Json counts_to_json(const BleuCounts& counts) {
  return {{"correct", counts.correct},
          {"total", counts.total},
          {"hypothesis_length", counts.hypothesis_length},
          {"reference_length", counts.reference_length}};
}

}  // namespace

Evaluation evaluate_texts(const std::filesystem::path& hypotheses, const std::filesystem::path& references,
                          const EvaluateOptions& options) {
  const std::vector<std::string> h = read_lines(hypotheses), r = read_lines(references);
  if (h.size() != r.size())
    throw Error({.where = hypotheses.string(),
                 .found = fmt::format("{} lines", h.size()),
                 .expected = fmt::format("{} lines, as {} has", r.size(), references.string()),
                 .advice = ""});
  Evaluation evaluation;
  evaluation.has_answers = true;
  for (std::size_t i = 0;
       i < h.size() && (options.limit <= 0 || static_cast<std::int64_t>(i) < options.limit); ++i) {
    JudgedPair& pair = evaluation.pairs.emplace_back();
    pair.hypothesis = h[i];
    pair.reference = r[i];
    judge_texts(pair, options);
  }
  summarize(evaluation, options);
  return evaluation;
}

void write_outputs(const std::filesystem::path& path, const Evaluation& evaluation) {
  AtomicFile file(path);
  for (const JudgedPair& pair : evaluation.pairs) {
    Json line = {{"source", pair.source}, {"reference", pair.reference}};
    if (evaluation.has_answers) {
      line["hypothesis"] = pair.hypothesis;
      line["bleu"] = counts_to_json(pair.bleu);
      line["rouge_1"] = pair.rouge_1;
      line["rouge_2"] = pair.rouge_2;
      line["rouge_l"] = pair.rouge_l;
    }
    if (evaluation.has_likelihood) {
      line["negative_log_likelihood"] = pair.negative_log_likelihood;
      line["target_tokens"] = pair.target_tokens;
    }
    line["reference_chars"] = pair.reference_chars;
    file.write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  file.commit();
}

Evaluation read_outputs(const std::filesystem::path& path, const EvaluateOptions& options) {
  Evaluation evaluation;
  std::size_t with_answer = 0, with_likelihood = 0;
  const MappedFile file(path);
  for_each_line(file.text(), [&](std::string_view text, std::int64_t number) {
    if (options.limit > 0 && static_cast<std::int64_t>(evaluation.pairs.size()) >= options.limit) return;
    if (text.find_first_not_of(" \t") == std::string_view::npos) return;
    const std::string where = fmt::format("{} line {}", path.string(), number);
    const Json line = parse_json(text, where);
    JudgedPair& pair = evaluation.pairs.emplace_back();
    pair.reference = json_get<std::string>(line, "reference", where);
    pair.source = json_get_or<std::string>(line, "source", "", where);
    pair.hypothesis = json_get_or<std::string>(line, "hypothesis", "", where);
    pair.negative_log_likelihood = json_get_or<double>(line, "negative_log_likelihood", 0, where);
    pair.target_tokens = json_get_or<std::int64_t>(line, "target_tokens", 0, where);
    with_answer += line.contains("hypothesis");
    with_likelihood += pair.target_tokens > 0;
    judge_texts(pair, options);
  });
  // A figure over some of the pairs would pass for one over all.
  evaluation.has_answers = with_answer == evaluation.pairs.size();
  evaluation.has_likelihood = with_likelihood == evaluation.pairs.size();
  summarize(evaluation, options);
  return evaluation;
}

}  // namespace retort
