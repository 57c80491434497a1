#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace retort {

double RateSchedule::at(std::int64_t step) const {
  if (step < warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps + 1);
  if (kind == "constant") return peak;
  const auto decay_steps = static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps) / decay_steps);
  if (kind == "linear") return peak + (minimum - peak) * progress;
  return minimum + (peak - minimum) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace retort
