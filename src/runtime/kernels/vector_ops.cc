#include "runtime/kernels/vector_ops.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr std::int64_t kPiece = 16384;  // values: below that a second thread does not pay

}  // namespace

void activate(Activation activation, std::span<float> x, ThreadPool& pool, const KernelSet& set) {
  pool.parallel_for(static_cast<std::int64_t>(x.size()), kPiece,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      set.activate(activation, x.data() + begin, end - begin);
                    });
}

float log_sum_exp(std::span<const float> row, const KernelSet& set) {
  return set.log_sum_exp(row.data(), static_cast<std::int64_t>(row.size()));
}

void RotaryAngles::assign(std::span<const std::int64_t> positions, std::span<const double> frequencies,
                          ThreadPool& pool) {
  rows_ = static_cast<std::int64_t>(positions.size());
  pairs_ = static_cast<std::int64_t>(frequencies.size());
  values_.resize(static_cast<std::size_t>(2 * rows_ * pairs_));
  pool.parallel_for(rows_, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t i = 0; i < pairs_; ++i) {
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(row)]) *
                             frequencies[static_cast<std::size_t>(i)];
        values_[static_cast<std::size_t>(2 * row * pairs_ + i)] = static_cast<float>(std::cos(angle));
        values_[static_cast<std::size_t>((2 * row + 1) * pairs_ + i)] = static_cast<float>(std::sin(angle));
      }
  });
}

void norm_and_rotate(std::span<const HeadRows> groups, const RotaryAngles* angles, ThreadPool& pool,
                     const KernelSet& set) {
  if (groups.empty()) return;
  std::int64_t values = 1;
  for (const HeadRows& group : groups) values += group.heads * group.head_dim;
  pool.parallel_for(groups.front().rows, 1 + kPiece / values, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row)
      for (const HeadRows& group : groups)
        for (std::int64_t head = 0; head < group.heads; ++head)
          set.norm_and_rotate(group.x + row * group.stride + head * group.head_dim, group.head_dim,
                              group.norm_weight, group.eps, angles ? angles->rotated() : 0,
                              angles ? angles->cosines(row) : nullptr, angles ? angles->sines(row) : nullptr);
  });
}

}  // namespace retort
