// The choice among the sets.
#include "runtime/kernels/kernel_set.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/options.h"
#include "runtime/kernels/amx_bf16.h"

namespace retort {

// One per file set_*.cc. Functions, not objects: nothing of a set may run where the processor lacks its
// instructions.
KernelSet generic_kernels();
KernelSet avx2_kernels();
KernelSet avx512_vnni_kernels();
KernelSet avx512_bf16_kernels();
KernelSet amx_bf16_kernels();
KernelSet neon_dotprod_kernels();
KernelSet neon_i8mm_kernels();

namespace {

struct Row {
  bool (*supported)();
  KernelSet (*make)();
};

#if defined(__x86_64__)
// F16C, which clang 14 cannot ask for, is older than AVX2: no processor has this without that.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
bool has_avx512_bf16() { return has_avx512_vnni() && __builtin_cpu_supports("avx512bf16"); }
bool has_amx_bf16() {
  return has_avx512_bf16() && __builtin_cpu_supports("avx512vbmi") && amx_bf16_granted();
}
#elif defined(__aarch64__)
bool has_neon_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_neon_i8mm() { return has_neon_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#endif

// The simplest first; the last that the processor can run is chosen.
const Row kRows[] = {
    {[] { return true; }, generic_kernels},
#if defined(__x86_64__)
    {has_avx2, avx2_kernels},
    {has_avx512_vnni, avx512_vnni_kernels},
    {has_avx512_bf16, avx512_bf16_kernels},
    {has_amx_bf16, amx_bf16_kernels},
#elif defined(__aarch64__)
    {has_neon_dotprod, neon_dotprod_kernels},
    {has_neon_i8mm, neon_i8mm_kernels},
#endif
};

struct Sets {
  Sets() {
    for (const Row& row : kRows)
      if (row.supported()) sets.push_back(row.make());
    for (const KernelSet& set : sets) pointers.push_back(&set);
  }
  std::vector<KernelSet> sets;
  std::vector<const KernelSet*> pointers;
};

const KernelSet& choose() {
  const auto sets = kernel_sets();
  const char* wish = std::getenv("RETORT_ISA");
  if (wish == nullptr || *wish == '\0') return *sets.back();
  std::vector<std::string> names;
  for (const KernelSet* set : sets) {
    if (set->name == wish) return *set;
    names.emplace_back(set->name);
  }
  throw Error({.where = "RETORT_ISA",
               .found = "'" + std::string(wish) + "'",
               .expected = "a kernel set that this processor can run",
               .advice = suggest(wish, names)});
}

}  // namespace

std::span<const KernelSet* const> kernel_sets() {
  static const Sets sets;
  return sets.pointers;
}

const KernelSet& kernel_set() {
  static const KernelSet& active = choose();
  return active;
}

}  // namespace retort
