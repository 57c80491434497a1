// By what a recorded trace is found again: the example's tokens and which of them are targets. An edited
// example has another key, the rest keep theirs.
#pragma once

#include <cstdint>

#include "data/batch.h"

namespace retort {

std::uint64_t trace_key(const Example& example);
// Of a packed example: the same.
std::uint64_t trace_key(const Batch& batch, std::int64_t sequence);

}  // namespace retort
