// Target sizes, and the parts of a model that fill them.
#pragma once

#include "compress/shrink/cut.h"
#include "compress/shrink/scores.h"

namespace retort {

// Of every layer; 0: as it is.
struct ShrinkSizes {
  std::int64_t heads = 0;            // query heads
  std::int64_t key_value_heads = 0;  // 0: whole groups go where `heads` allows, else heads of every group
  std::int64_t ffn = 0;
  std::int64_t hidden = 0;
  bool operator==(const ShrinkSizes&) const = default;
};

// Leaves in `cut` the units of the highest scores; groups of heads count with the sum of their query heads.
// scores.layers belong to cut.layers one to one. Throws Error for sizes that are above a layer's, and for
// heads that the groups do not share evenly.
void cut_to_sizes(const ModelConfig& config, const ShrinkSizes& sizes, const UnitScores& scores, Cut& cut);

}  // namespace retort
