#include "formats/encodings/k_block.h"

#include <algorithm>
#include <cmath>

#include "formats/encodings/scale_search.h"

namespace retort {
namespace {

constexpr int kMaxScale = 63;
constexpr int kRounds = 4;

class Search {
 public:
  Search(std::span<const float> x, std::span<const float> weights, int max_code)
      : x_(x), weights_(weights), grid_{0, max_code} {}

  KBlock run() {
    std::array<ScaleAndMinimum, kKRuns> fits;
    float largest_scale = 0, largest_minimum = 0;
    for (std::size_t run = 0; run < kKRuns; ++run) {
      fits[run] = fit_scale_and_minimum(values(run), weights(run), grid_.high, /*minimum_not_negative=*/true);
      largest_scale = std::max(largest_scale, fits[run].scale);
      largest_minimum = std::max(largest_minimum, fits[run].minimum);
    }
    KBlock block;
    block.d = rounded_to_half(largest_scale / kMaxScale);
    block.dmin = rounded_to_half(largest_minimum / kMaxScale);
    for (std::size_t run = 0; run < kKRuns; ++run) {
      block.scale[run] = nearest_code(fits[run].scale, {0, kMaxScale}, block.d);
      block.minimum[run] = nearest_code(fits[run].minimum, {0, kMaxScale}, block.dmin);
    }
    improve(block);
    for (std::size_t i = 0; i < kSuperBlock; ++i) {
      const std::size_t run = i / kKRun;
      block.codes[i] = nearest_code(x_[i], grid_, scale(block, run), minimum(block, run));
    }
    return block;
  }

 private:
  std::span<const float> values(std::size_t run) const { return x_.subspan(run * kKRun, kKRun); }
  std::span<const float> weights(std::size_t run) const { return weights_.subspan(run * kKRun, kKRun); }
  static float scale(const KBlock& block, std::size_t run) {
    return block.d * static_cast<float>(block.scale[run]);
  }
  static float minimum(const KBlock& block, std::size_t run) {
    return block.dmin * static_cast<float>(block.minimum[run]);
  }

  // In turns: each run's integers move to the best neighbour, then the factors to their least squares values.
  // The error never grows.
  void improve(KBlock& block) const {
    float error = move_integers(block);
    for (int round = 0; round < kRounds; ++round) {
      KBlock next = block;
      refit_factors(next);
      const float next_error = move_integers(next);
      if (!(next_error < error)) return;
      block = next;
      error = next_error;
    }
  }

  // The error of the block after the moves.
  float move_integers(KBlock& block) const {
    float total = 0;
    for (std::size_t run = 0; run < kKRuns; ++run) {
      const int scale_before = block.scale[run], minimum_before = block.minimum[run];
      float best = -1;
      for (int s = std::max(0, scale_before - 1); s <= std::min(kMaxScale, scale_before + 1); ++s) {
        for (int m = std::max(0, minimum_before - 1); m <= std::min(kMaxScale, minimum_before + 1); ++m) {
          const float error = grid_error(values(run), weights(run), grid_, block.d * static_cast<float>(s),
                                         block.dmin * static_cast<float>(m));
          if (best >= 0 && !(error < best)) continue;
          best = error;
          block.scale[run] = s;
          block.minimum[run] = m;
        }
      }
      total += best;
    }
    return total;
  }

  // x ≈ d · a - dmin · b with a = scale · code and b = minimum, over the whole block.
  void refit_factors(KBlock& block) const {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (std::size_t i = 0; i < kSuperBlock; ++i) {
      const std::size_t run = i / kKRun;
      const double a = block.scale[run] * nearest_code(x_[i], grid_, scale(block, run), minimum(block, run));
      const double b = block.minimum[run], w = weights_[i], x = x_[i];
      aa += w * a * a;
      ab += w * a * b;
      bb += w * b * b;
      xa += w * x * a;
      xb += w * x * b;
    }
    const double determinant = aa * bb - ab * ab;
    double d = block.d, dmin = block.dmin;
    if (determinant > 1e-9 * aa * bb) {
      d = (bb * xa - ab * xb) / determinant;
      dmin = (ab * xa - aa * xb) / determinant;
    } else if (aa > 0) {
      d = xa / aa;
    }
    if (d < 0 || dmin < 0) return;
    block.d = rounded_to_half(static_cast<float>(d));
    block.dmin = rounded_to_half(static_cast<float>(dmin));
  }

  std::span<const float> x_, weights_;
  Grid grid_;
};

}  // namespace

KBlock encode_k_block(std::span<const float> x, std::span<const float> weights, int max_code) {
  return Search(x, weights, max_code).run();
}

void store_k_scales(std::byte* at, const KBlock& block) {
  for (std::size_t j = 0; j < 4; ++j) {
    store_u8(at + j, block.scale[j] | block.scale[j + 4] >> 4 << 6);
    store_u8(at + 4 + j, block.minimum[j] | block.minimum[j + 4] >> 4 << 6);
    store_u8(at + 8 + j, (block.scale[j + 4] & 15) | (block.minimum[j + 4] & 15) << 4);
  }
}

void load_k_scales(const std::byte* at, KBlock& block) {
  for (std::size_t j = 0; j < 4; ++j) {
    const int low = load_u8(at + j), high = load_u8(at + 4 + j), rest = load_u8(at + 8 + j);
    block.scale[j] = low & 63;
    block.minimum[j] = high & 63;
    block.scale[j + 4] = (rest & 15) | low >> 6 << 4;
    block.minimum[j + 4] = rest >> 4 | high >> 6 << 4;
  }
}

}  // namespace retort
