#include "model/device_batch.h"

#include <algorithm>

namespace retort {
namespace {

template <class T>
std::vector<std::int64_t> wide(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

DeviceBatch upload(const Batch& batch, at::Device device) {
  DeviceBatch out;
  std::vector<std::int64_t> index, labels;
  std::vector<float> weights;
  for (std::size_t i = 0; i < batch.targets.size(); ++i)
    if (batch.targets[i] != kNoTarget) {
      index.push_back(static_cast<std::int64_t>(i));
      labels.push_back(batch.targets[i]);
      weights.push_back(batch.weights[i]);
      out.weight_sum += batch.weights[i];
    }
  out.starts.assign(batch.sequence_starts.begin(), batch.sequence_starts.end());
  for (std::size_t s = 0; s + 1 < out.starts.size(); ++s)
    out.max_length = std::max(out.max_length, out.starts[s + 1] - out.starts[s]);
  out.tokens = send(wide(batch.tokens), device);
  out.positions = send(wide(batch.positions), device);
  out.cu_seqlens = send(batch.sequence_starts, device);
  out.target_index = send(index, device);
  out.labels = send(labels, device);
  out.weights = send(weights, device);
  out.host = &batch;
  return out;
}

}  // namespace retort
