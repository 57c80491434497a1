// What the inputs of a model's matrices are like on given texts, and what clamping them and rounding them to
// 8 bits would lose: for limits of i8_channel that fit a model, and a report of what they cost.
#pragma once

#include <span>
#include <vector>

#include "architecture/language_model.h"
#include "runtime/engine.h"

namespace retort {

struct InputStatistics {
  double largest = 0;                     // magnitude
  double squared = 0, squared_error = 0;  // sums over all values
  std::int64_t values = 0, clamped = 0;

  double relative_error() const;  // √(Σ error² / Σ value²)
};

// [layer][LinearGroup]. limit: values are clamped to ±limit first (0: they are not), then rounded as the
// kernels round them, 32 by 32.
std::vector<std::array<InputStatistics, kLinearGroups>> input_statistics(Engine& engine,
                                                                         std::span<const Sequence> texts,
                                                                         double limit);

}  // namespace retort
