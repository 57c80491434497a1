// What encodings with one scale a row begin with.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "base/error.h"

namespace retort {

// The largest magnitude. Error naming `where` for values that are not finite.
inline float largest_magnitude(std::span<const float> row, const std::string& where) {
  float largest = 0;
  for (const float value : row) {
    if (!std::isfinite(value))
      throw Error({.where = where,
                   .found = "the value " + std::to_string(value),
                   .expected = "finite numbers",
                   .advice = "The model is damaged, or its training diverged."});
    largest = std::max(largest, std::fabs(value));
  }
  return largest;
}

}  // namespace retort
