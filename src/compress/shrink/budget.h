// Sizes for a number of parameters.
#pragma once

#include <string>

#include "compress/shrink/sizes.h"

namespace retort {

struct Budget {
  std::int64_t num_layers = 0;
  ShrinkSizes sizes;
};

// The largest model of at most `parameters`, of those whose layers, groups of heads (rounded to whole ones)
// and FFN width (to multiples of 8) are one same share of the model's; the FFN then takes what rounding left
// over. The hidden width, on which the embedding depends, is `hidden` (0: as it is). Throws Error when a
// model of one layer, one group and an FFN of 8 is too large, or when layers differ.
Budget fit_budget(const ModelConfig& config, std::int64_t parameters, std::int64_t hidden);

// "12M" = 12,000,000; also k, B, and plain numbers. Throws Error for anything else.
std::int64_t parse_count(const std::string& text);

}  // namespace retort
