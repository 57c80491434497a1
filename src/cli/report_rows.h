// A row of a report's table: what evaluations, and the trainings behind them, have left in files.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "evaluate/evaluate.h"

namespace retort {

struct ReportColumn {
  const char *key, *title, *unit, *better;
  int digits;
  bool on_request = false;  // shown only when `columns` names it
  double scale() const;     // from the figure to the unit shown
};
// All that a table can show, in order; one without a figure in any row is left out.
std::span<const ReportColumn> report_columns();

struct ReportRow {
  std::string name;
  std::string series;     // rows of one series share a line in pictures
  std::string note;       // how several runs differ
  Json figures;           // by column key, means over runs; KEY_interval where one is known
  Evaluation evaluation;  // every run's pairs together
};

// {name, evaluation: PATH or [PATH, …], training: the same, general: the same, series: …}. `evaluation` and
// `general` without their .json and .jsonl; `training` the train.json files; several are runs of one thing
// (seeds). `general_before`: the other task's scores that were there to be forgotten. Throws Error naming the
// file or key.
ReportRow read_report_row(const Json& item, const std::optional<Evaluation>& general_before,
                          const std::string& where);
Evaluation read_evaluation(const std::string& path);
// Every file that a row reads.
std::vector<std::string> report_row_inputs(const Json& item);

}  // namespace retort
