// Weights of the squared error for one block.
#pragma once

#include <algorithm>
#include <array>
#include <span>

namespace retort {

// The block's part of `importance`; ones where there is none, or where it is zero throughout and so says
// nothing.
inline std::span<const float> importance_of(std::span<const float> importance, std::size_t at,
                                            std::size_t size) {
  static constexpr auto kOnes = [] {
    std::array<float, 256> ones = {};
    ones.fill(1.0f);
    return ones;
  }();
  if (!importance.empty()) {
    const std::span<const float> part = importance.subspan(at, size);
    if (std::any_of(part.begin(), part.end(), [](float weight) { return weight > 0; })) return part;
  }
  return std::span(kOnes).first(size);
}

}  // namespace retort
