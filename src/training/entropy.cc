#include "training/entropy.h"

#include <algorithm>

namespace retort {

at::Tensor mean_entropy(const at::Tensor& logits, double temperature) {
  const at::Tensor log_probs = (logits / temperature).log_softmax(1);
  return -(log_probs.exp() * log_probs).sum(1).mean();
}

at::Tensor spread_targets(const DeviceBatch& batch) {
  const std::int64_t targets = batch.target_index.size(0),
                     step = std::max<std::int64_t>(1, targets / kEntropyPositions);
  return batch.target_index.slice(0, 0, std::min(targets, step * kEntropyPositions), step);
}

}  // namespace retort
