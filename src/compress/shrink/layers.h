// A smaller student cut out of a larger model by keeping some of its layers.
#pragma once

#include <cstdint>
#include <vector>

#include "architecture/model_folder.h"

namespace retort {

// `count` of `total` layers, evenly spread, the first and the last among them (count 1: the first).
std::vector<std::int64_t> spread_layers(std::int64_t total, std::int64_t count);

// Writes `folder` with only the layers named (ascending, each once) into `out`, an ordinary model folder with
// the tokenizer's files copied. Throws Error for an empty, unordered or out-of-range list.
void keep_layers(const ModelFolder& folder, const std::vector<std::int64_t>& layers,
                 const std::filesystem::path& out);

}  // namespace retort
