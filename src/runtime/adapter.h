// Adapters that stand beside the engine's matrices without being merged into them: each sequence of a step
// may have its own, and the base is read once for all.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "architecture/adapter_weights.h"
#include "runtime/linear_group.h"

namespace retort {

// What is added to the outputs of one group: y += B (A x), the scales and weights of all adapters of a stack
// multiplied into B, their ranks side by side.
class LowRankGroup {
 public:
  // One matrix of the group: its columns within the group's output row.
  struct Target {
    std::int64_t column = 0, out = 0;
    std::vector<const LoraPart*> parts;
    std::vector<double> weights;  // of each part's adapter
  };
  LowRankGroup() = default;
  LowRankGroup(std::int64_t in, std::span<const Target> targets, bool half);

  bool empty() const { return ranks_ == 0; }
  std::int64_t ranks() const { return ranks_; }  // of A, rounded up to whole tiles

  // One piece of work for `rows` of a step; x: the group's input in fp32, [rows][x_stride]. The inner
  // products lie in inner [row][inner_stride].
  struct Rows {
    std::span<const std::int64_t> rows;
    const float* x = nullptr;
    std::int64_t x_stride = 0;
    float* inner = nullptr;
    std::int64_t inner_stride = 0;
    float* out = nullptr;
    std::int64_t out_stride = 0;
  };
  // Jobs that any threads may run: first all of `in`, then all of `out`.
  void append_in(const Rows& rows, std::vector<LowRankJob>& jobs) const;
  void append_out(const Rows& rows, std::vector<LowRankJob>& jobs) const;

 private:
  struct Output {
    std::int64_t column, out, first_rank, ranks, padded;
    AlignedBuffer b;  // [ranks][padded]
  };
  std::int64_t padded_ = 0, ranks_ = 0;
  bool half_ = false;
  AlignedBuffer a_;  // [ranks][padded]
  std::vector<Output> outputs_;
};

struct WeightedAdapter {
  const AdapterWeights* adapter = nullptr;
  double weight = 1;
};

// A stack of adapters, ready for steps. LoRA's matrices are kept in half precision beside weights of at most
// 16 bits, in single beside fp32.
struct EngineAdapter {
  EngineAdapter(std::span<const WeightedAdapter> stack, const ModelConfig& config, bool half);

  const LowRankGroup& group(std::size_t layer, LinearGroup group) const {
    return layers[layer][static_cast<std::size_t>(group)];
  }
  std::int64_t most_ranks() const;

  std::vector<std::array<LowRankGroup, kLinearGroups>> layers;
  std::int64_t virtual_tokens = 0;
  std::vector<float> prefix;  // as AdapterWeights has it
};

}  // namespace retort
