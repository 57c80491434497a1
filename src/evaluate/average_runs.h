// Several runs of one thing (seeds) as one evaluation.
#pragma once

#include <string>
#include <vector>

#include "evaluate/evaluate.h"

namespace retort {

// Each pair gets what all runs made of it: counts, nats, tokens and characters added up, ROUGE averaged, the
// first run's text. Scores are then those of the runs together, and intervals resample pairs, each with all
// its runs. Throws Error, naming `where`, when the runs did not judge the same pairs in the same order.
Evaluation average_runs(std::vector<Evaluation> runs, const EvaluateOptions& options,
                        const std::string& where);

}  // namespace retort
