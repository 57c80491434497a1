// How a run draws from its training data, and what it validates on.
#pragma once

#include "cli/learn.h"

namespace retort {

// Batches of a run, drawn by its mixture if it has one. `options.trainer.steps` is known.
PackingOptions packing_of(const LearnOptions& options, const Dataset& dataset);

// Moves the ratios by validation loss; null when options ask for none. Throws Error when validation cannot
// tell the data's files apart.
std::unique_ptr<AdaptiveMixture> make_adaptive_mixture(const LearnOptions& options, BatchSource& source);

// The examples of each of the first `sources` sources.
std::vector<ExampleStore> by_source(const ExampleStore& store, std::size_t sources);

}  // namespace retort
