// The kernels for any processor, and the choice among the tables.
#include "model/kernels/cpu_kernels.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace retort {

namespace portable {
inline constexpr int kLanes = 4;
#include "model/kernels/cpu_kernels.inc"
}  // namespace portable

namespace avx2 {
template <class T>
CpuKernels<T> table();
}
namespace avx512 {
template <class T>
CpuKernels<T> table();
}

namespace {

enum class Level { portable, avx2, avx512 };

// The processor's level, or a lower one that RETORT_CPU_KERNELS names (for tests of what this machine would
// not choose).
Level detect() {
  Level level = Level::portable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = Level::avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    level = Level::avx512;
#endif
  const char* wish = std::getenv("RETORT_CPU_KERNELS");
  const std::string_view name = wish ? wish : "";
  if (name == "portable") return Level::portable;
  if (name == "avx2") return std::min(level, Level::avx2);
  return level;
}

template <class T>
CpuKernels<T> choose() {
#if defined(__x86_64__)
  if (detect() == Level::avx512) return avx512::table<T>();
  if (detect() == Level::avx2) return avx2::table<T>();
#endif
  return portable::table<T>();
}

std::int64_t padded(std::int64_t n) { return (n + 15) / 16 * 16; }

}  // namespace

template <class T>
const CpuKernels<T>& cpu_kernels() {
  static const CpuKernels<T> kernels = choose<T>();
  return kernels;
}
template const CpuKernels<float>& cpu_kernels<float>();
template const CpuKernels<c10::BFloat16>& cpu_kernels<c10::BFloat16>();

const char* cpu_kernels_name() {
  switch (detect()) {
    case Level::avx512:
      return "avx512";
    case Level::avx2:
      return "avx2";
    default:
      return "portable";
  }
}

std::int64_t attention_forward_scratch(std::int64_t max_length, std::int64_t head_dim) {
  const std::int64_t n = padded(max_length), d = padded(head_dim);
  return 2 * n * d + std::max(n, kQueryBlock) * std::max(d, kQueryBlock) + 2 * kQueryBlock * d;
}

std::int64_t attention_backward_scratch(std::int64_t max_length, std::int64_t head_dim) {
  const std::int64_t n = padded(max_length), d = padded(head_dim);
  return 5 * n * d + 2 * kQueryBlock * n + 3 * kQueryBlock * d;
}

}  // namespace retort
