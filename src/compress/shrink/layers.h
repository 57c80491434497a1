// Which layers of a model stay.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "compress/shrink/scores.h"

namespace retort {

// `count` of `total` layers, evenly spread, the first and the last among them (count 1: the first).
std::vector<std::int64_t> spread_layers(std::int64_t total, std::int64_t count);

// The `count` layers of the highest influence.
std::vector<std::int64_t> influential_layers(const UnitScores& scores, std::int64_t count);

// Takes one layer away after another, each time the one without which the calibration texts stay most likely,
// until `count` are left: about total · (total - count) passes over the texts, counted by `progress(done,
// all)`. `model` is as before afterwards.
std::vector<std::int64_t> search_layers(CausalLM& model, const Calibration& calibration, std::int64_t count,
                                        const std::function<void(std::int64_t, std::int64_t)>& progress = {});

// Leaves out of `model` all blocks but those named.
void keep_blocks(CausalLM& model, const std::vector<std::int64_t>& layers);

}  // namespace retort
