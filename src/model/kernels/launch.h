// How blocks call kernels: which tensors the CPU kernels take, and rows split over threads.
#pragma once

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <type_traits>

#include "model/kernels/cpu_kernels.h"

namespace retort {

// Others (CUDA, fp16 on CPU) go through ATen.
inline bool has_cpu_kernels(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// body(T{}) with the element type of x: float or c10::BFloat16.
template <class Body>
void with_element_type(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kFloat)
    body(float{});
  else
    body(c10::BFloat16{});
}

// An autograd::Function takes no undefined tensors, but empty optionals.
inline std::optional<at::Tensor> optional_of(const at::Tensor& x) {
  return x.defined() ? std::optional(x) : std::nullopt;
}
inline at::Tensor tensor_of(const std::optional<at::Tensor>& x) { return x.value_or(at::Tensor()); }

template <class T>
T* data_or_null(const at::Tensor& x) {
  return x.defined() ? x.data_ptr<T>() : nullptr;
}

// run(begin, end, scratch): each thread with `floats` floats of its own.
template <class Run>
void parallel_rows(std::int64_t rows, std::int64_t grain, std::int64_t floats, const Run& run) {
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(static_cast<std::size_t>(floats));
    run(begin, end, scratch.data());
  });
}

}  // namespace retort
