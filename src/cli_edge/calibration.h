// quantize's look at a model's inputs: which limits i8_channel should clamp them to, and what it loses of
// them.
#pragma once

#include <map>
#include <string>

#include "base/json.h"

namespace retort {

struct CalibrationOptions {
  std::string model, data;  // a folder; pairs, dialogues or texts
  std::int64_t records = 64, threads = 0;
  double limit = 0;  // of all inputs; 0: each input's own largest value
};

struct Calibration {
  std::map<std::string, double> limits;  // by parameter, when options.limit is 0
  // {"layer 0 q, k, v": {"largest": …, "limit": …, "clamped": share, "relative_error": …}, …}
  Json inputs = Json::object();
};

Calibration calibrate(const CalibrationOptions& options);

}  // namespace retort
