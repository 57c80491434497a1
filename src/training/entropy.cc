#include "training/entropy.h"

#include <algorithm>

namespace retort {

at::Tensor mean_entropy(const at::Tensor& logits, double temperature) {
  const at::Tensor log_probs = (logits / temperature).log_softmax(1);
  return -(log_probs.exp() * log_probs).sum(1).mean();
}

at::Tensor spread_places(std::int64_t count, at::Device device) {
  const std::int64_t step = std::max<std::int64_t>(1, count / kEntropyPositions);
  return at::arange(0, std::min(count, step * kEntropyPositions), step,
                    at::TensorOptions(device).dtype(at::kLong));
}

}  // namespace retort
