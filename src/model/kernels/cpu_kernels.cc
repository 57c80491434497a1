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
namespace avx512_bf16 {
template <class T>
CpuKernels<T> table();
}

namespace {

enum class Level { portable, avx2, avx512, avx512_bf16 };

// The processor's level, or a lower one that RETORT_CPU_KERNELS names (for tests of what this machine would
// not choose).
Level detect() {
  Level level = Level::portable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = Level::avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    level = __builtin_cpu_supports("avx512bf16") ? Level::avx512_bf16 : Level::avx512;
#endif
  const char* wish = std::getenv("RETORT_CPU_KERNELS");
  const std::string_view name = wish ? wish : "";
  if (name == "portable") return Level::portable;
  if (name == "avx2") return std::min(level, Level::avx2);
  if (name == "avx512") return std::min(level, Level::avx512);
  return level;
}

template <class T>
CpuKernels<T> choose() {
#if defined(__x86_64__)
  if (detect() == Level::avx512_bf16) return avx512_bf16::table<T>();
  if (detect() == Level::avx512) return avx512::table<T>();
  if (detect() == Level::avx2) return avx2::table<T>();
#endif
  return portable::table<T>();
}

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
    case Level::avx512_bf16:
      return "avx512_bf16";
    case Level::avx512:
      return "avx512";
    case Level::avx2:
      return "avx2";
    default:
      return "portable";
  }
}

}  // namespace retort
