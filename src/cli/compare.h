// retort train --compare: the same data by several methods and seeds, and one table.
#pragma once

#include "cli/learn.h"

namespace retort {

struct CompareOptions {
  Json methods;  // "full,lora", or a list of names and of objects with options of train; null: no comparison
  std::vector<std::int64_t> seeds;
  std::string judge;  // pairs to answer; empty: likelihood on the validation part alone
  std::int64_t judge_limit = 256;
  void visit(OptionList& list);
  bool on() const { return !methods.is_null(); }
};

// Every method with every seed in a process of its own, so that time and peak memory are its own, each in
// out/NAME-SEED; then out/report.html, out/report.json and out/compare.json, and the table on standard
// output: scores averaged over seeds. What is done already is not done again. Returns what compare.json
// holds; null when interrupted. Throws Error naming the method that failed.
Json compare_methods(const LearnOptions& options, const CompareOptions& compare);

}  // namespace retort
