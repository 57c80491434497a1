#include "cli/compute.h"

#include <ATen/DeviceAccelerator.h>
#include <malloc.h>

#include "base/error.h"
#include "base/machine.h"

namespace retort {

void ComputeOptions::visit(OptionList& list) {
  list.add("device", device, "where to compute").choices = {"auto", "cpu", "cuda"};
  list.add("precision", precision, "of weights and products; training keeps fp32 masters").choices = {
      "auto", "fp32", "bf16", "fp16"};
  list.add("threads", threads, "CPU threads; 0: all that this process may use");
}

void ComputeOptions::apply() const {
  if (device == "cuda" && !torch::cuda::is_available())
    throw Error({.where = "device",
                 .found = "cuda, but LibTorch sees no GPU",
                 .expected = "cpu or auto",
                 .advice = ""});
  if (threads < 0)
    throw Error(
        {.where = "threads", .found = std::to_string(threads), .expected = "0 (all) or more", .advice = ""});
  if (precision == "fp16" && torch_device().is_cpu())
    throw Error({.where = "precision", .found = "fp16 on a CPU", .expected = "fp32 or bf16", .advice = ""});
  at::set_num_threads(static_cast<int>(threads > 0 ? threads : machine().threads));
}

at::Device ComputeOptions::torch_device() const {
  const bool cuda = device == "cuda" || (device == "auto" && torch::cuda::is_available());
  return cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

at::ScalarType ComputeOptions::dtype() const {
  if (precision == "fp32") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "fp16") return at::kHalf;
  return torch_device().is_cuda() || machine().fast_bf16() ? at::kBFloat16 : at::kFloat;
}

void ComputeOptions::reset_peak() const {
  if (torch_device().is_cuda()) {
    at::globalContext().lazyInitDevice(at::kCUDA);  // there is no allocator before
    at::accelerator::resetPeakStats(torch_device().index());
  } else {
    ::malloc_trim(0);  // what was freed before is not ours
    reset_peak_memory();
  }
}

std::uint64_t ComputeOptions::peak_bytes() const {
  if (torch_device().is_cpu()) return peak_memory_bytes();
  constexpr std::size_t kAggregate = 0;  // StatType::AGGREGATE, in namespaces that differ between versions
  return static_cast<std::uint64_t>(
      at::accelerator::getDeviceStats(torch_device().index()).allocated_bytes[kAggregate].peak);
}

Json ComputeOptions::describe() const {
  const at::ScalarType type = dtype();
  return {{"device", torch_device().is_cuda() ? "cuda" : "cpu"},
          {"precision", type == at::kFloat  ? "fp32"
                        : type == at::kHalf ? "fp16"
                                            : "bf16"},
          {"threads", at::get_num_threads()}};
}

DType stored_dtype(at::ScalarType type) {
  return type == at::kBFloat16 ? DType::bf16 : type == at::kHalf ? DType::f16 : DType::f32;
}

}  // namespace retort
