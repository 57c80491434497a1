#include "data/batch.h"

#include <algorithm>

namespace retort {

std::int64_t Batch::target_count() const {
  return std::count_if(targets.begin(), targets.end(), [](TokenId target) { return target != kNoTarget; });
}

void Batch::append(const Example& example) {
  const std::size_t count = example.tokens.size();
  for (std::size_t i = 0; i < count; ++i) {
    const bool predicts = i + 1 < count && example.is_target[i + 1] != 0;
    tokens.push_back(example.tokens[i]);
    targets.push_back(predicts ? example.tokens[i + 1] : kNoTarget);
    weights.push_back(predicts ? example.weight : 0.0f);
    positions.push_back(static_cast<std::int32_t>(i));
  }
  sequence_starts.push_back(static_cast<std::int32_t>(tokens.size()));
  example_ids.push_back(example.id);
  sources.push_back(example.source);
}

}  // namespace retort
