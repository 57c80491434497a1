// Joules that the processor has used, where the machine's counters can be read (RAPL through
// /sys/class/powercap; often root only, and absent in virtual machines).
#pragma once

#include <optional>

namespace retort {

// Since some fixed time, of all packages together. Wraps are the caller's to discard: a difference below 0.
std::optional<double> energy_joules();

}  // namespace retort
