#include "cli_edge/energy.h"

#include <filesystem>
#include <fstream>

namespace retort {

std::optional<double> energy_joules() {
  namespace fs = std::filesystem;
  std::optional<double> total;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/class/powercap", error)) {
    // intel-rapl:0, intel-rapl:1 … are packages (AMD's too); intel-rapl:0:0 is a part of one.
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("intel-rapl:") || name.find(':', 11) != std::string::npos) continue;
    std::ifstream file(entry.path() / "energy_uj");
    if (double microjoules = 0; file >> microjoules) total = total.value_or(0) + 1e-6 * microjoules;
  }
  return total;
}

}  // namespace retort
