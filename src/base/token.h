// A token of some vocabulary.
#pragma once

#include <cstdint>

namespace retort {

using TokenId = std::int32_t;

// In Batch::targets: this position has no loss.
inline constexpr TokenId kNoTarget = -100;

}  // namespace retort
