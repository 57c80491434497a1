#include "model/device_batch.h"

#include <algorithm>

namespace retort {
namespace {

template <class From, class To>
at::Tensor to_device(const std::vector<From>& values, at::ScalarType dtype, at::Device device) {
  const at::Tensor host = at::empty({static_cast<std::int64_t>(values.size())}, at::TensorOptions(dtype));
  std::copy(values.begin(), values.end(), host.data_ptr<To>());
  return send(host, device);
}

}  // namespace

at::Tensor send(const at::Tensor& host, at::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host.to(device);
}

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
  out.tokens = to_device<TokenId, std::int64_t>(batch.tokens, at::kLong, device);
  out.positions = to_device<std::int32_t, std::int64_t>(batch.positions, at::kLong, device);
  out.cu_seqlens = to_device<std::int32_t, std::int32_t>(batch.sequence_starts, at::kInt, device);
  out.target_index = to_device<std::int64_t, std::int64_t>(index, at::kLong, device);
  out.labels = to_device<std::int64_t, std::int64_t>(labels, at::kLong, device);
  out.weights = to_device<float, float>(weights, at::kFloat, device);
  out.host = &batch;
  return out;
}

}  // namespace retort
