// How undecided a model is: the mean entropy of its next-token distributions.
#pragma once

#include <torch/torch.h>

#include "model/device_batch.h"

namespace retort {

// Mean over rows of H(softmax(z / τ)) in nats; logits fp32 [C, V]. 0-dim.
at::Tensor mean_entropy(const at::Tensor& logits, double temperature);

// At most this many target positions speak for a micro-batch, evenly spread.
inline constexpr std::int64_t kEntropyPositions = 64;
at::Tensor spread_targets(const DeviceBatch& batch);  // int64 [≤ kEntropyPositions]

}  // namespace retort
