// A batch is flat: sequences lie one after another, never padded. Plain memory, no torch type.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/example.h"

namespace retort {

struct TraceRows;

struct Batch {
  // Per position, [N].
  std::vector<TokenId> tokens;
  // The token that this position is to predict, or kNoTarget: shifted here, once.
  std::vector<TokenId> targets;
  std::vector<float> weights;           // of the position's loss; 0 where there is no target
  std::vector<std::int32_t> positions;  // from 0 in each sequence

  // Per sequence, [S] (starts: [S + 1]).
  std::vector<std::int32_t> sequence_starts = {0};
  std::vector<std::uint64_t> example_ids;
  std::vector<std::int32_t> sources;

  std::shared_ptr<const TraceRows> traces;  // of its targets, when read ahead (data/trace_reading.h)
  bool by_student = false;  // the answers are the student's own words: there are no labels to learn

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t sequence_count() const { return static_cast<std::int64_t>(example_ids.size()); }
  std::int64_t target_count() const;

  // Appends one example; truncates nothing.
  void append(const Example& example);
};

}  // namespace retort
