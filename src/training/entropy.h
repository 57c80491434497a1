// How undecided a model is: the mean entropy of its next-token distributions.
#pragma once

#include <torch/torch.h>

namespace retort {

// Mean over rows of H(softmax(z / τ)) in nats; logits fp32 [C, V]. 0-dim.
at::Tensor mean_entropy(const at::Tensor& logits, double temperature);

// At most this many target positions speak for a micro-batch.
inline constexpr std::int64_t kEntropyPositions = 64;
// Evenly spread places among `count` targets: int64 [≤ kEntropyPositions].
at::Tensor spread_places(std::int64_t count, at::Device device);

}  // namespace retort
