#include "base/random.h"

#include <cmath>
#include <numbers>

namespace retort {

std::uint64_t Random::next() {
  // One block of four words serves one call: half is dropped, and the state stays a single number.
  const std::uint64_t place = position_++;
  const auto words = philox({static_cast<std::uint32_t>(place), static_cast<std::uint32_t>(place >> 32),
                             static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                            {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  return std::uint64_t{words[1]} << 32 | words[0];
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

double Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::uint64_t Random::below(std::uint64_t bound) {
  // 2^64 mod bound values are refused, so that the rest is even.
  const std::uint64_t limit = (0 - bound) % bound;
  for (;;)
    if (const std::uint64_t value = next(); value >= limit) return value % bound;
}

}  // namespace retort
