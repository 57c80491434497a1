// What is left of a layer beside products and attention, shared out to threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "runtime/kernels/kernel_set.h"

namespace retort {

// x = activation(x) for the non-gated MLP.
void activate(Activation activation, std::span<float> x, ThreadPool& pool,
              const KernelSet& set = kernel_set());
// log Σ exp of one row.
float log_sum_exp(std::span<const float> row, const KernelSet& set = kernel_set());

// Cosines and sines of one step's positions, the same for all layers. frequencies: rope_frequencies(config).
class RotaryAngles {
 public:
  void assign(std::span<const std::int64_t> positions, std::span<const double> frequencies, ThreadPool& pool);
  std::int64_t rows() const { return rows_; }
  std::int64_t rotated() const { return 2 * pairs_; }
  const float* cosines(std::int64_t row) const { return values_.data() + 2 * row * pairs_; }
  const float* sines(std::int64_t row) const { return cosines(row) + pairs_; }

 private:
  std::int64_t rows_ = 0, pairs_ = 0;
  std::vector<float> values_;
};

// Each head of each row: RMSNorm over head_dim if there is a weight (Qwen3's q_norm, k_norm), then the
// rotation of pairs (i, i + rotated / 2). angles null: no rotation. In place.
struct HeadRows {
  float* x = nullptr;  // [rows][stride], heads · head_dim of each used
  std::int64_t rows = 0, stride = 0, heads = 0, head_dim = 0;
  const float* norm_weight = nullptr;  // [head_dim]
  float eps = 0;
};
void norm_and_rotate(std::span<const HeadRows> groups, const RotaryAngles* angles, ThreadPool& pool,
                     const KernelSet& set = kernel_set());

}  // namespace retort
