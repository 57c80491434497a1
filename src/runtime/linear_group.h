// The matrices of a layer, by the input that they share.
#pragma once

#include <cstddef>
#include <functional>

#include "runtime/kernels/activations.h"

namespace retort {

enum class LinearGroup { qkv, o, gate_up, down };
inline constexpr std::size_t kLinearGroups = 4;

// Is shown the input of a group's matrices, with its fp32 form.
using InputObserver = std::function<void(std::size_t layer, LinearGroup group, const Activations& input)>;

}  // namespace retort
