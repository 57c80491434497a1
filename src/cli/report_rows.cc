#include "cli/report_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/options.h"
#include "evaluate/average_runs.h"

namespace retort {
namespace {

constexpr ReportColumn kColumns[] = {
    {"parameters", "parameters", "M", "none", 2},
    {"file_bytes", "file", "MB", "none", 1},
    {"bleu4", "BLEU-4", "", "high", 2},
    {"rouge_l", "ROUGE-L", "", "high", 4},
    {"nats_per_token", "nats / token", "", "low", 4, /*on_request=*/true},
    {"nats_per_char", "nats / character", "", "low", 4},
    {"forgotten", "forgotten, nats / character", "", "low", 4},
    {"trainable_parameters", "trained parameters", "M", "none", 3},
    {"training_seconds", "training", "s", "low", 1},
    {"training_peak_memory_bytes", "training memory", "MB", "low", 0},
    {"result_bytes", "trained files", "MB", "low", 2},
    {"tokens_per_second", "tokens / s", "", "high", 0},
    {"latency_median_ms", "latency, median", "ms", "low", 0},
    {"latency_p99_ms", "latency, 99 %", "ms", "low", 0},
    {"peak_memory_bytes", "peak memory", "MB", "low", 0},
};

std::vector<std::string> path_list(const Json& item, const char* key, const std::string& where) {
  const Json value = item.value(key, Json());
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  return json_get<std::vector<std::string>>(item, key, where);
}

EvaluateOptions options_of(const Json& figures) {
  EvaluateOptions options;
  options.bleu_tokenize = figures.value("bleu_tokenize", options.bleu_tokenize);
  options.rouge_unit = figures.value("rouge_unit", options.rouge_unit);
  return options;
}

// Numbers become means over the runs; all else is the first run's.
Json mean_of(const std::vector<Json>& runs) {
  Json mean = runs.front();
  for (auto& [key, value] : mean.items()) {
    if (!value.is_number()) continue;
    double sum = 0;
    for (const Json& run : runs) sum += run.value(key, 0.0);
    value = sum / static_cast<double>(runs.size());
  }
  return mean;
}

struct Runs {
  std::vector<Json> figures;
  Evaluation together;
};

Runs read_runs(const std::vector<std::string>& paths, const std::string& where) {
  Runs runs;
  std::vector<Evaluation> evaluations;
  for (const std::string& path : paths) {
    runs.figures.push_back(read_json(path + ".json"));
    evaluations.push_back(read_evaluation(path));
  }
  runs.together = average_runs(std::move(evaluations), options_of(runs.figures.front()), where);
  return runs;
}

std::string spread(const std::vector<Json>& runs) {
  if (runs.size() < 2 || !runs.front().contains("nats_per_char")) return "";
  std::string text;
  for (const Json& run : runs) text += fmt::format("{:.4f} ", run.value("nats_per_char", 0.0));
  return fmt::format("{} runs: {}nats / character", runs.size(), text);
}

// `scores`: those of its validation part stand for an evaluation's.
void add_training(ReportRow& row, const std::vector<std::string>& paths, bool scores) {
  std::vector<Json> runs;
  for (const std::string& path : paths) runs.push_back(read_json(path));
  if (runs.empty()) return;
  std::vector<std::pair<const char*, const char*>> taken = {
      {"trainable_parameters", "trainable_parameters"},
      {"seconds", "training_seconds"},
      {"peak_memory_bytes", "training_peak_memory_bytes"},
      {"result_bytes", "result_bytes"}};
  if (scores) {
    taken.emplace_back("validation_nats_per_token", "nats_per_token");
    taken.emplace_back("validation_nats_per_char", "nats_per_char");
  }
  std::vector<Json> renamed;
  for (const Json& run : runs) {
    Json figures = Json::object();
    for (const auto& [from, to] : taken)
      if (run.contains(from)) figures[to] = run.at(from);
    renamed.push_back(std::move(figures));
  }
  row.figures.update(mean_of(renamed));
  if (scores) row.note = spread(renamed);
}

}  // namespace

double ReportColumn::scale() const {
  const std::string_view name = unit;
  return name == "M" || name == "MB" ? 1e-6 : 1;
}

std::span<const ReportColumn> report_columns() { return kColumns; }

Evaluation read_evaluation(const std::string& path) {
  return read_outputs(path + ".jsonl", options_of(read_json(path + ".json")));
}

ReportRow read_report_row(const Json& item, const std::optional<Evaluation>& general_before,
                          const std::string& where) {
  ReportRow row;
  row.name = json_get<std::string>(item, "name", where);
  const std::vector<std::string> keys = {"name", "evaluation", "training", "general", "series"};
  for (const auto& [key, unused] : item.items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      throw Error({.where = where + ": " + row.name,
                   .found = "unknown key '" + key + "'",
                   .expected = "",
                   .advice = suggest(key, keys)});
  row.series = json_get_or<std::string>(item, "series", "", where);
  const std::vector<std::string> paths = path_list(item, "evaluation", where),
                                 training = path_list(item, "training", where);
  if (paths.empty() && training.empty())
    throw Error(
        {.where = where + ": " + row.name, .found = "no evaluation", .expected = "a path", .advice = ""});
  row.figures = Json::object();
  add_training(row, training, /*scores=*/paths.empty());
  if (!paths.empty()) {
    Runs runs = read_runs(paths, where + ": " + row.name);
    row.figures.update(mean_of(runs.figures));
    if (paths.size() > 1) row.figures.update(runs.together.to_json());
    row.note = spread(runs.figures);
    row.evaluation = std::move(runs.together);
  }
  const std::vector<std::string> general = path_list(item, "general", where);
  if (!general.empty() && general_before) {
    const Interval lost =
        compare(read_runs(general, where + ": " + row.name).together, *general_before).nats_per_char;
    row.figures["forgotten"] = lost.mean;
    row.figures["forgotten_interval"] = {lost.low, lost.high};
  }
  return row;
}

std::vector<std::string> report_row_inputs(const Json& item) {
  std::vector<std::string> paths;
  if (!item.is_object()) return paths;  // said by whoever reads the row
  for (const char* key : {"evaluation", "general"})
    for (const std::string& path : path_list(item, key, "report: rows"))
      for (const char* extension : {".json", ".jsonl"}) paths.push_back(path + extension);
  for (std::string& path : path_list(item, "training", "report: rows")) paths.push_back(std::move(path));
  return paths;
}

}  // namespace retort
