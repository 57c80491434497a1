// Recorded traces of the batches that a training loop reads.
#pragma once

#include "data/batch_source.h"
#include "formats/trace_store.h"

namespace retort {

// One row for each target of the batch, in order. Error when an example was not recorded.
TraceRows read_traces(const TraceStore& store, const Batch& batch);

// The batches of `inner`, each with its traces: below prefetch() they are read while the step before
// computes.
std::unique_ptr<BatchSource> attach_traces(std::unique_ptr<BatchSource> inner,
                                           std::shared_ptr<const TraceStore> store);

}  // namespace retort
