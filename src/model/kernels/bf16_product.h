// A matrix product of bf16 with fp32 sums on processors with AVX512-BF16, as kernels over raw memory. Like
// cpu_kernels.h: a kernel works on a range and spawns nothing, and results do not depend on how the ranges
// are split.
#pragma once

#include <cstdint>

namespace retort {

// One matrix of a product, as it lies in memory: element (i, j) at data[i · row + j · column]; row or column
// is 1.
struct Bf16Matrix {
  const std::uint16_t* data = nullptr;
  std::int64_t row = 0, column = 0;
};

// c [m, n] = a [m, k] · b [k, n] (+ bias [n]). k is even. One of c and sum is null.
struct Bf16Product {
  std::int64_t m = 0, n = 0, k = 0;
  Bf16Matrix a = {}, b = {};
  const std::uint16_t* bias = nullptr;  // null: none
  std::uint16_t* c = nullptr;           // written, rounded once
  float* sum = nullptr;                 // added to
  std::int64_t ld = 0;                  // values from one row of c or sum to the next
  std::uint16_t* panels = nullptr;      // bf16_panel_values() values: b in the order in which tiles read it
};

// Values of Bf16Product::panels, and panels to pack: kBf16Columns columns of b each.
inline constexpr std::int64_t kBf16Columns = 64;
inline std::int64_t bf16_panels(std::int64_t n) { return (n + kBf16Columns - 1) / kBf16Columns; }
inline std::int64_t bf16_panel_values(std::int64_t n, std::int64_t k) {
  return bf16_panels(n) * kBf16Columns * k;
}
// Rows of a tile, and floats of scratch that multiply_bf16 needs.
inline constexpr std::int64_t kBf16Rows = 6;
std::int64_t bf16_scratch(std::int64_t n, std::int64_t k);

void pack_bf16_panels(const Bf16Product& product, std::int64_t begin_panel, std::int64_t end_panel);
// Rows of tiles [begin, end): tile i has rows [6 i, 6 i + 6). Every panel is packed.
void multiply_bf16(const Bf16Product& product, std::int64_t begin_tile, std::int64_t end_tile,
                   float* scratch);

}  // namespace retort
