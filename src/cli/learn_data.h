// How a run draws from its training data, and what it validates on.
#pragma once

#include "cli/learn.h"

namespace retort {

// Batches of `examples`, which come from so many `files`, drawn by the mixture if there is one.
// `trainer.steps` is known.
PackingOptions packing_of(const TrainerOptions& trainer, const MixtureOptions& mixture,
                          const ExampleStore& examples, std::size_t files);

// Moves the ratios by validation loss; null when options ask for none. Throws Error when validation cannot
// tell the data's files apart.
std::unique_ptr<AdaptiveMixture> make_adaptive_mixture(const LearnOptions& options,
                                                       std::vector<BatchSource*> readers);

// The examples of each of the first `sources` sources.
std::vector<ExampleStore> by_source(const ExampleStore& store, std::size_t sources);

}  // namespace retort
