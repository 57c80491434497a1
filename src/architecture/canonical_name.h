// Canonical parameter names taken apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

struct CanonicalName {
  std::int64_t layer = -1;  // -1: not in a layer
  std::string module;       // "self_attn.q_proj"; outside of layers the whole path: "model.norm"
  std::string kind;         // "weight" or "bias"
};

// "model.layers.3.self_attn.q_proj.weight" is layer 3, self_attn.q_proj, weight. The name must be one that
// parameter_specs() gives.
CanonicalName split_name(std::string_view name);

}  // namespace retort
