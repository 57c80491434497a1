// One step through the transformer: rows of several sequences, attention over the paged cache.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "runtime/adapter_pass.h"
#include "runtime/cache/paged_cache.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/vector_ops.h"
#include "runtime/transformer.h"

namespace retort {

// The rows of one step, sequence after sequence. Of each, the last `outputs` rows are wanted at the end.
struct StepRows {
  std::vector<TokenId> tokens;
  std::vector<std::int64_t> positions;
  std::vector<CachedSequence> sequences;       // blocks include room for these rows
  std::vector<std::int64_t> outputs;           // per sequence
  std::vector<const EngineAdapter*> adapters;  // per sequence; null: the base alone
};

// How the cache's blocks are divided among layers.
struct CachePlan {
  CachePlan(const ModelConfig& config, CacheType type, std::int64_t block_tokens);

  std::vector<CacheLayout> layers;
  std::vector<std::int64_t> offsets;  // bytes within a block
  std::int64_t block_bytes = 0;
  // Of all layers, for one position.
  double position_bytes() const { return static_cast<double>(block_bytes) / layers.front().block_tokens; }
};

class Forward {
 public:
  // All must outlive it. Steps have at most `max_rows` rows; the buffers of so many are made here, once.
  Forward(const ModelConfig& config, const EngineModel& model, const CachePlan& plan, std::byte* cache_memory,
          std::int64_t max_rows, ThreadPool& pool);

  // Before a step has this adapter.
  void prepare(const EngineAdapter& adapter);
  // Writes an adapter's prefix to the blocks of a sequence.
  void write_prefix(const EngineAdapter& adapter, std::span<const BlockId> blocks);

  // Is shown every input of a layer's matrices from now on, in fp32; null: nobody.
  void observe(InputObserver observer) { observer_ = std::move(observer); }

  // Writes keys and values of all rows, keeps the hidden states of the output rows, and returns how many they
  // are.
  std::int64_t run(const StepRows& step);
  // Logits [count, vocab_size] of output rows of the last run.
  void logits(std::int64_t begin, std::int64_t count, float* out);

 private:
  void embed(const StepRows& step);
  AttentionLayer attention_layer(std::size_t index) const;
  void project(std::size_t index, std::int64_t rows);
  void mlp(std::size_t index, std::int64_t rows);
  void gated_mlp_apart(std::size_t index, std::int64_t rows);
  void assign(std::size_t layer, LinearGroup group, ActivationInput input,
              std::initializer_list<const EngineLinear*> readers);
  void keep_outputs(const StepRows& step);

  const ModelConfig& config_;
  std::int64_t max_rows_;
  const EngineModel& model_;
  const CachePlan& plan_;
  std::byte* cache_memory_;
  ThreadPool& pool_;

  Activations activations_;
  RotaryAngles angles_;
  std::vector<CachedSequence> output_queries_;
  std::vector<std::int64_t> tile_rows_;  // of the rows that are at work
  std::int64_t output_rows_ = 0;
  // [rows][…] fp32: residual stream; q, k and v; heads' outputs; inside the MLP; learned positions
  AlignedBuffer x_, qkv_, mixed_, inner_, position_;
  AdapterPass adapters_;
  InputObserver observer_;
};

}  // namespace retort
