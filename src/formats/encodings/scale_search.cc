#include "formats/encodings/scale_search.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encodings/block.h"

namespace retort {
namespace {

constexpr std::size_t kMaxRun = 32;  // weights under one scale in any encoding
constexpr int kTurns = 4;            // of rounding and least squares, for the best few candidates

// To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 · 2^23 leaves no bits for a fraction. One
// addition that every vector unit has, unlike std::nearbyint.
inline float round_even(float x) {
  constexpr float kShift = 12582912.0f;
  return (x + kShift) - kShift;
}
inline float to_code(float x, float inverse, float minimum, float low, float high) {
  const float code = (x + minimum) * inverse;
  return round_even(std::min(std::max(code, low), high));
}

using Codes = std::array<float, kMaxRun>;

void round_all(std::span<const float> x, Grid grid, float inverse, float minimum, Codes& codes) {
  const auto low = static_cast<float>(grid.low), high = static_cast<float>(grid.high);
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = to_code(x[i], inverse, minimum, low, high);
}

struct Moments {
  float w = 0, q = 0, qq = 0, x = 0, xq = 0;  // weighted sums
};

Moments moments(std::span<const float> x, std::span<const float> weights, const Codes& codes) {
  Moments m;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float wq = weights[i] * codes[i], wx = weights[i] * x[i];
    m.w += weights[i];
    m.q += wq;
    m.qq += wq * codes[i];
    m.x += wx;
    m.xq += wx * codes[i];
  }
  return m;
}

ScaleAndMinimum least_squares(const Moments& m, bool minimum_not_negative) {
  const float determinant = m.w * m.qq - m.q * m.q;
  if (determinant > 1e-7f * m.w * m.qq) {
    const ScaleAndMinimum fit = {(m.w * m.xq - m.x * m.q) / determinant,
                                 (m.q * m.xq - m.qq * m.x) / determinant};
    if (fit.scale >= 0 && (fit.minimum >= 0 || !minimum_not_negative)) return fit;
  }
  // On the border: no minimum.
  return {m.qq > 0 ? std::max(0.0f, m.xq / m.qq) : 0.0f, 0.0f};
}

}  // namespace

int nearest_code(float x, Grid grid, float scale, float minimum) {
  return static_cast<int>(to_code(x, inverse_or_zero(scale), minimum, static_cast<float>(grid.low),
                                  static_cast<float>(grid.high)));
}

float grid_error(std::span<const float> x, std::span<const float> weights, Grid grid, float scale,
                 float minimum) {
  const float inverse = inverse_or_zero(scale);
  const auto low = static_cast<float>(grid.low), high = static_cast<float>(grid.high);
  float error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float off = x[i] - (scale * to_code(x[i], inverse, minimum, low, high) - minimum);
    error += weights[i] * off * off;
  }
  return error;
}

float fit_scale(std::span<const float> x, std::span<const float> weights, Grid grid) {
  float largest = 0;
  for (const float value : x)
    if (std::fabs(value) > std::fabs(largest)) largest = value;
  if (largest == 0) return 0;

  // The least squares scale of given codes removes (Σ w x q)² / Σ w q² of the error: the more, the better.
  float best = 0, best_gain = -1;
  Codes codes;
  const auto try_inverse = [&](float inverse) {
    for (int turn = 0; turn < kTurns; ++turn) {
      round_all(x, grid, inverse, 0, codes);
      const Moments m = moments(x, weights, codes);
      if (!(m.qq > 0)) return;
      const float scale = m.xq / m.qq, gain = m.xq * scale;
      if (!(gain > best_gain * (1 + 1e-6f))) return;
      best_gain = gain;
      best = scale;
      inverse = inverse_or_zero(scale);
      if (inverse == 0) return;
    }
  };
  // The largest value on either end of the grid, and up to one step inside or outside of it.
  for (int step = -10; step <= 10; ++step) {
    const float shift = 0.1f * static_cast<float>(step);
    try_inverse((static_cast<float>(grid.low) - shift) / largest);
    try_inverse((static_cast<float>(grid.high) + shift) / largest);
  }
  return best_gain < 0 ? largest / static_cast<float>(grid.low) : best;
}

ScaleAndMinimum fit_scale_and_minimum(std::span<const float> x, std::span<const float> weights, int max_code,
                                      bool minimum_not_negative) {
  float low = *std::min_element(x.begin(), x.end());
  const float high = *std::max_element(x.begin(), x.end());
  if (minimum_not_negative) low = std::min(low, 0.0f);
  if (high <= low) return {0, -low};

  const Grid grid = {0, max_code};
  ScaleAndMinimum best = {(high - low) / static_cast<float>(max_code), -low};
  float best_error = grid_error(x, weights, grid, best.scale, best.minimum);
  Codes codes;
  for (int step = -10; step <= 12; ++step) {
    float inverse = (static_cast<float>(max_code) + 0.1f * static_cast<float>(step)) / (high - low);
    float minimum = -low;
    for (int turn = 0; turn < kTurns; ++turn) {
      round_all(x, grid, inverse, minimum, codes);
      const ScaleAndMinimum fit = least_squares(moments(x, weights, codes), minimum_not_negative);
      float error = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const float off = x[i] - (fit.scale * codes[i] - fit.minimum);
        error += weights[i] * off * off;
      }
      if (!(error < best_error)) break;
      best_error = error;
      best = fit;
      inverse = inverse_or_zero(fit.scale);
      minimum = fit.minimum;
    }
  }
  return best;
}

}  // namespace retort
