// Where and in what precision a verb computes.
#pragma once

#include <torch/torch.h>

#include <string>

#include "base/options.h"
#include "formats/dtype.h"

namespace retort {

struct ComputeOptions {
  std::string device = "auto";
  std::string precision = "auto";
  std::int64_t threads = 0;
  void visit(OptionList& list);

  // Sets the thread count. Error when CUDA is asked for and absent, or fp16 on a CPU.
  void apply() const;
  at::Device torch_device() const;
  // auto: bf16 on CUDA and on CPUs that multiply it in hardware, else fp32.
  at::ScalarType dtype() const;
  // Memory of the device since the last reset, at its highest: of this process on a CPU, of LibTorch's
  // allocator on a GPU. What earlier work of the process still holds is counted.
  void reset_peak() const;
  std::uint64_t peak_bytes() const;
  Json describe() const;  // {"device": "cpu", "precision": "bf16", "threads": 2}
};

DType stored_dtype(at::ScalarType type);

}  // namespace retort
