// What machine this is: for reports, for benchmark tables and for checkpoints (bit-equality holds on one
// machine only).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace retort {

struct Machine {
  std::string cpu;  // "AMD EPYC 9R14"
  int threads = 1;  // usable by this process (cgroup and affinity counted)
  // Of avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16 asimddp i8mm sve …
  std::vector<std::string> instructions;
  std::uint64_t memory_bytes = 0;
  std::string system;  // "Debian GNU/Linux 12, Linux 6.1"

  bool has(const std::string& instruction) const;
  // bf16 multiplication in hardware: without it bf16 training on CPU is slower than fp32.
  bool fast_bf16() const { return has("avx512_bf16") || has("amx_bf16") || has("bf16"); }
  Json to_json() const;
};

const Machine& machine();

// Resident memory of this process, its highest value so far and now, in bytes.
std::uint64_t peak_memory_bytes();
std::uint64_t resident_memory_bytes();
// Starts the peak anew at the present value, once freed memory has gone back to the system (where the kernel
// allows it; false if not).
bool reset_peak_memory();

}  // namespace retort
