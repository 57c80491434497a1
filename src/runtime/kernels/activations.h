// The input of a layer's matrices: n rows, normalised and rounded to bytes once, then read by q, k and v, or
// by gate and up. Rounding is per 32 values, to 8 bits, as Q8_0's but with an fp32 scale. Rows of prompts are
// rounded to bf16 instead, and lie in tiles, where the kernel set multiplies those: what a row gives depends
// on whether it is a long prompt's, but not on what stands with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "runtime/kernels/aligned_buffer.h"
#include "runtime/kernels/kernel_set.h"
#include "runtime/kernels/weight_matrix.h"

namespace retort {

struct NormOptions {
  NormKind kind = NormKind::none;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 0;
};

struct ActivationInput {
  const float* x = nullptr;  // [rows][stride]
  std::int64_t rows = 0, columns = 0, stride = 0;
  NormOptions norm = {};
  float limit = 0;  // above 0: clamped to ±limit behind the norm
  // Rows that tiles may multiply, where the set has them, ascending. To be left in place while products are
  // made.
  std::span<const std::int64_t> tile_rows = {};
};

class Activations {
 public:
  // Keeps its memory from one call to the next.
  void assign(const ActivationInput& input, ActivationForms forms, ThreadPool& pool,
              const KernelSet& set = kernel_set());

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  ActivationForms forms() const { return forms_; }
  // A normalised row in fp32, if that form was asked for.
  std::span<const float> row(std::int64_t i) const;

  struct Rows {
    const std::byte* data;
    std::int64_t stride;  // bytes
  };
  Rows form(ActivationForm form) const;  // where no rows are in tiles
  // For multiply.cc: what one job can multiply, and which of the rows it is. Tiles: [n / 16][padded /
  // 32][16][32] in bf16, of `tile_rows`.
  struct Part {
    Rows rows;
    std::int64_t first, n;
    const std::int64_t* tile_rows;  // [n]; null: no tiles, but rows from `first` on
  };
  void parts(ActivationForm form, std::vector<Part>& out) const;

 private:
  std::int64_t rows_ = 0, columns_ = 0, padded_ = 0;
  ActivationForms forms_ = 0;
  std::span<const std::int64_t> tile_rows_;
  AlignedBuffer f32_, runs_, bf16_, tiles_, scratch_;
};

}  // namespace retort
