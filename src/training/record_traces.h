// A teacher's distributions onto disk: what `retort trace` does.
#pragma once

#include <functional>

#include "data/batch_source.h"
#include "formats/trace_store.h"
#include "model/causal_lm.h"

namespace retort {

struct RecordOptions {
  std::int64_t batch_tokens = 4096;
  double flush_seconds = 1;  // at most so much work is lost by a kill
};

// Records every example of `examples` that is not among `known` (null: none is). `teacher`'s first
// manifest.vocab_size rows of the head are the vocabulary. Draws are a function of (seed, example, position).
// Returns how many examples were recorded; fewer than there are when Ctrl-C came.
std::int64_t record_traces(const CausalLM& teacher, const ExampleStore& examples, const TraceStore* known,
                           const TraceManifest& manifest, TraceWriter& writer, const RecordOptions& options,
                           const std::function<void(std::int64_t examples, std::int64_t targets)>& progress);

// The traces of some positions: logits fp32 [C, V]; keys[c] seeds the draws of row c.
std::vector<TracedPosition> trace_positions(const at::Tensor& logits, std::span<const std::uint64_t> keys,
                                            const TraceManifest& manifest);

}  // namespace retort
