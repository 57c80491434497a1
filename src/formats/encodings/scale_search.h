// Scales that minimise the weighted squared error of a run of weights on a uniform grid. Candidates from a
// ladder of scales are improved by turns of rounding and least squares (Lloyd's iteration), and the best is
// kept.
#pragma once

#include <span>

namespace retort {

struct Grid {
  int low, high;  // the integers that codes may take
};

// x ≈ scale · q, q in the grid. The scale may be negative. 0 when all x are.
float fit_scale(std::span<const float> x, std::span<const float> weights, Grid grid);

// x ≈ scale · q - minimum, q in 0 … max_code; scale ≥ 0, and minimum ≥ 0 if asked.
struct ScaleAndMinimum {
  float scale = 0, minimum = 0;
};
ScaleAndMinimum fit_scale_and_minimum(std::span<const float> x, std::span<const float> weights, int max_code,
                                      bool minimum_not_negative);

// Sum of weights · (x - scale · q + minimum)², each q the nearest of low … high.
float grid_error(std::span<const float> x, std::span<const float> weights, Grid grid, float scale,
                 float minimum = 0);
// The nearest code; ties to even.
int nearest_code(float x, Grid grid, float scale, float minimum = 0);

}  // namespace retort
