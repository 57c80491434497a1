#include "base/machine.h"

#include <malloc.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

// jemalloc's, in programs that are linked with it.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old, std::size_t* old_size, void* fresh,
                                             std::size_t fresh_size);

namespace retort {
namespace {

// What an allocator has kept for later is not what comes next has used.
void give_back_freed_memory() {
  if (mallctl != nullptr) {
    mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // MALLCTL_ARENAS_ALL
    return;
  }
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

std::string value_after_colon(const std::string& line) {
  const auto at = line.find(':');
  return at == std::string::npos || at + 2 > line.size() ? "" : line.substr(at + 2);
}

// "VmHWM:   1234 kB" in /proc/self/status, in bytes.
std::uint64_t status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, key.size(), key) == 0) return std::stoull(line.substr(key.size())) * 1024;
  return 0;
}

int usable_threads() {
  int threads = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) threads = CPU_COUNT(&set);
  // A container's quota (cgroup v2): "max 100000" or "200000 100000".
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (quota_file >> quota >> period && period > 0)
    threads = std::min(threads, std::max(1, static_cast<int>(quota / period + 0.5)));
  return std::max(1, threads);
}

Machine detect() {
  Machine m;
  m.threads = usable_threads();
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(cpuinfo, line);) {
    if (m.cpu.empty() && line.rfind("model name", 0) == 0) m.cpu = value_after_colon(line);
    if (flags.empty() && (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0))
      flags = value_after_colon(line);
  }
  if (m.cpu.empty()) m.cpu = "unknown CPU";
  constexpr const char* kOfInterest[] = {
      "avx2",     "fma",      "f16c",     "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
      "amx_tile", "amx_int8", "amx_bf16", "asimd",    "asimddp", "i8mm",     "bf16",        "sve"};
  std::istringstream words(flags);
  for (std::string word; words >> word;)
    if (std::find(std::begin(kOfInterest), std::end(kOfInterest), word) != std::end(kOfInterest))
      m.instructions.push_back(word);
  m.memory_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);)
    if (line.rfind("PRETTY_NAME=\"", 0) == 0) m.system = line.substr(13, line.size() - 14);
  utsname name{};
  if (::uname(&name) == 0)
    m.system += (m.system.empty() ? "" : ", ") + std::string(name.sysname) + " " + name.release;
  return m;
}

}  // namespace

bool Machine::has(const std::string& instruction) const {
  return std::find(instructions.begin(), instructions.end(), instruction) != instructions.end();
}

Json Machine::to_json() const {
  return {{"cpu", cpu},
          {"threads", threads},
          {"instructions", instructions},
          {"memory_bytes", memory_bytes},
          {"system", system}};
}

const Machine& machine() {
  static const Machine instance = detect();
  return instance;
}

std::uint64_t peak_memory_bytes() { return status_bytes("VmHWM:"); }
std::uint64_t resident_memory_bytes() { return status_bytes("VmRSS:"); }

bool reset_peak_memory() {
  give_back_freed_memory();
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

}  // namespace retort
