// A Batch on a device. Made once a step, read by student and teacher alike.
#pragma once

#include <torch/torch.h>

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

// `host` on `device`. A GPU gets it from pinned memory, in its turn: the caller goes on, so that the launches
// of a step never wait for what is still running.
at::Tensor send(const at::Tensor& host, at::Device device);

DeviceBatch upload(const Batch& batch, at::Device device);

}  // namespace retort
