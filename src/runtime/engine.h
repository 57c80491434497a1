// The CPU engine: a model's weights as they lie in the file, a paged cache of keys and values, and one step
// that carries any mix of prompt pieces and single tokens of many sequences through the transformer. Scoring
// and generation (engine_language_model.h, batcher.h) are loops around step().
//
// One thread calls it; the work inside is split over the engine's own threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "architecture/model_weights.h"
#include "runtime/adapter.h"
#include "runtime/cache/paged_cache.h"
#include "runtime/engine_options.h"

namespace retort {

enum class Outputs { none, last, all };  // whose next-token distributions are wanted

// Consecutive tokens of one sequence, which go behind what the cache holds of it.
struct Piece {
  SequenceId sequence = 0;
  std::span<const TokenId> tokens;
  Outputs outputs = Outputs::last;
  // Of the whole prompt that this is a part of; 0: these tokens are all of it, or one token of an answer. Its
  // parts give the same bits wherever it was cut.
  std::int64_t prompt_tokens = 0;
};

class Engine {
 public:
  // Throws Error when a parameter is missing or in an encoding without a kernel.
  Engine(std::shared_ptr<const ModelWeights> weights, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const ModelConfig& config() const;
  const EngineOptions& options() const;  // with zeros and "auto" resolved
  PagedCache& cache();

  // Adapters under names, each a weighted stack applied as one. They come and go between steps. Throws Error
  // for a name that is taken or empty.
  void add_adapter(const std::string& name, std::span<const WeightedAdapter> stack);
  // Throws Error, removing nothing, while a sequence uses it.
  void remove_adapter(const std::string& name);
  // Positions that an adapter's prefix takes before a sequence's first token. Throws Error for a name that is
  // not loaded; "" is the base.
  std::int64_t virtual_tokens(const std::string& adapter) const;
  // A new sequence of the cache, computed with this adapter ("": none) from here on, as are its forks.
  SequenceId open(const std::string& adapter = "");

  // Computes all pieces, at most options().max_batch_tokens tokens and one piece a sequence, and returns how
  // many output rows there are, in the order of the pieces. Throws Error, changing nothing, when a piece is
  // empty, has unknown tokens, leaves the context, or the cache has no room.
  std::int64_t step(std::span<const Piece> pieces);
  // Logits [count, vocab_size] of output rows of the last step; valid, and the caller's to change, until the
  // next call.
  std::span<float> logits(std::int64_t begin, std::int64_t count);
  std::int64_t max_logit_rows() const;

  // Shows every input of a layer's matrices from now on; null: to nobody.
  void observe_inputs(InputObserver observer);

  // Throws Error for no tokens, more than the context beside the adapter's prefix, ids outside of the
  // vocabulary, and an adapter that is not loaded.
  void check_tokens(std::span<const TokenId> tokens, const std::string& adapter,
                    const std::string& where) const;
  // Calls work(0 … count - 1) on the engine's threads. It must not throw.
  void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work);

  // Bytes that one token reads at a context of `context` tokens: every weight once, and the cache.
  double bytes_per_token(std::int64_t context) const;
  Json describe() const;  // threads, kernels, cache type

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retort
