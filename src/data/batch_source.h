// Batches for a training loop. Sources compose by wrapping; a source that needs a model (on-policy text) is
// given a LanguageModel. The order is fixed by the seed, and state() / restore() make a killed run go on with
// the same batches.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/batch.h"

namespace retort {

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual std::optional<Batch> next() = 0;  // nullopt: the end (an endless source never says it)
  // Where the next batch will come from. restore() takes what state() of an equal source gave.
  virtual Json state() const = 0;
  virtual void restore(const Json& state) = 0;
  // Of a mixture: each source's ratio is multiplied by its factor from the next batch on. Error without one.
  virtual void reweigh(std::span<const double> factors);
};

// Examples in memory as tokens (four bytes each), in a compact arena: what training shuffles and packs.
class ExampleStore {
 public:
  void add(const Example& example);
  std::int64_t size() const { return static_cast<std::int64_t>(records_.size()); }
  Example get(std::int64_t index) const;
  std::int64_t token_count(std::int64_t index) const;
  std::int32_t source(std::int64_t index) const;
  std::int64_t total_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t total_targets() const { return total_targets_; }

 private:
  struct Entry {
    std::uint64_t id;
    std::int64_t begin;
    std::int32_t count, source;
    float weight;
  };
  std::vector<Entry> records_;
  std::vector<TokenId> tokens_;
  std::vector<std::uint8_t> is_target_;
  std::int64_t total_targets_ = 0;
};

struct PackingOptions {
  std::int64_t batch_tokens = 4096;  // at most this many positions a batch
  bool shuffle = true;               // anew each epoch, by seed
  std::int64_t epochs = 0;           // 0: endless
  std::int64_t seed = 0;
  // Ratios of examples by source (Example::source) at a batch, from 0; they need not sum to 1. Empty:
  // examples as they come. A function of the batch alone, so that a resumed run draws the same.
  std::function<std::vector<double>(std::int64_t batch)> mixture = {};
};

// Batches of whole sequences, filled up to batch_tokens (examples taken in order; one that no longer fits
// waits for the next batch). The store outlives the source.
std::unique_ptr<BatchSource> pack_examples(const ExampleStore& store, const PackingOptions& options);

// Runs `inner` in a thread of its own, `depth` batches ahead. state() is that of the batches handed out, not
// of those fetched.
std::unique_ptr<BatchSource> prefetch(std::unique_ptr<BatchSource> inner, int depth = 4);

}  // namespace retort
