// Texts by which a cut is chosen: what a model does on them, and how well it predicts them.
#pragma once

#include <filesystem>
#include <vector>

#include "model/causal_lm.h"

namespace retort {

struct Calibration {
  std::vector<Batch> batches;
  std::int64_t records = 0, targets = 0;
};

// The first `records` records of a file, in the prompt format of the folder's model. Throws Error when there
// are none.
Calibration read_calibration(const ModelFolder& folder, const std::string& file, std::int64_t records,
                             std::int64_t max_length);

// -log p of the targets, on average, in nats.
double nats_per_token(const CausalLM& model, const Calibration& calibration);

}  // namespace retort
