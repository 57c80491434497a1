// A Batch on a device. Made once a step, read by student and teacher alike.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "data/batch.h"
#include "model/blocks/attention.h"

namespace retort {

struct DeviceBatch {
  at::Tensor tokens;                 // int64 [N]
  at::Tensor positions;              // int64 [N]
  at::Tensor cu_seqlens;             // int32 [S + 1]
  std::vector<std::int64_t> starts;  // the same on the host
  std::int64_t max_length = 0;       // of a sequence
  at::Tensor target_index;           // int64 [T]: the positions that have a loss, in order
  at::Tensor labels;                 // int64 [T]
  at::Tensor weights;                // fp32  [T]
  double weight_sum = 0;             // Σ weights, in double on the host
  const Batch* host = nullptr;       // for terms that need example ids or sources; outlives this

  Packing packing() const { return {starts, cu_seqlens, max_length}; }
};

// Values on a device. A GPU gets them from pinned memory, in their turn: the caller goes on, so that the
// launches of a step never wait for what is still running. The copy into pinned memory is the caller's own:
// waking threads for it would cost more.
template <class T>
at::Tensor send(const std::vector<T>& values, at::IntArrayRef sizes, at::Device device) {
  const at::Tensor host =
      at::empty(sizes, at::TensorOptions(c10::CppTypeToScalarType<T>::value).pinned_memory(device.is_cuda()));
  std::copy(values.begin(), values.end(), host.data_ptr<T>());
  return host.to(device, /*non_blocking=*/true);
}
template <class T>
at::Tensor send(const std::vector<T>& values, at::Device device) {
  return send(values, {static_cast<std::int64_t>(values.size())}, device);
}

DeviceBatch upload(const Batch& batch, at::Device device);

}  // namespace retort
