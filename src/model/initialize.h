// Random weights: normal(0, initializer_range) for matrices (residual outputs divided by sqrt(2 · layers), as
// GPT-2), 1 for norms, 0 for biases. A value depends on seed, parameter name and index alone.
#pragma once

#include <vector>

#include "model/causal_lm.h"

namespace retort {

void initialize_parameters(const std::vector<Parameter>& parameters, const ModelConfig& config,
                           std::uint64_t seed);

}  // namespace retort
