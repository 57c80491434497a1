// 256 weights: 128 bytes of low nibbles, 64 of bit pairs, 16 int8 scales (one for 16 weights), half d. value
// = d · scale · q, q in -32 … 31. Two halves of 128: weights l, l + 32, l + 64, l + 96 (l < 32) lie in the
// low nibbles of bytes l and l + 32 and in their high nibbles; their top bits are the four pairs of byte l.
#include <algorithm>
#include <array>
#include <cmath>

#include "formats/encodings/block.h"
#include "formats/encodings/encoding.h"
#include "formats/encodings/importance.h"
#include "formats/encodings/scale_search.h"

namespace retort {
namespace {

constexpr std::size_t kBlock = 256, kRun = 16, kRuns = 16, kBytes = 210;
constexpr std::size_t kPairsAt = 128, kScalesAt = 192, kFactorAt = 208;
constexpr Grid kCodes = {-32, 31}, kScales = {-128, 127};
constexpr int kRounds = 4;

struct Search {
  std::span<const float> x, weights;
  float d = 0;
  std::array<int, kRuns> scale = {};

  float run_scale(std::size_t run) const { return d * static_cast<float>(scale[run]); }

  // Each run's scale moves to the best neighbour; the error of the block after that.
  float move_scales() {
    float total = 0;
    for (std::size_t run = 0; run < kRuns; ++run) {
      const int before = scale[run];
      float best = -1;
      for (int s = std::max(kScales.low, before - 1); s <= std::min(kScales.high, before + 1); ++s) {
        const float error = grid_error(x.subspan(run * kRun, kRun), weights.subspan(run * kRun, kRun), kCodes,
                                       d * static_cast<float>(s));
        if (best >= 0 && !(error < best)) continue;
        best = error;
        scale[run] = s;
      }
      total += best;
    }
    return total;
  }

  void refit_factor() {
    double aa = 0, xa = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const double a = scale[i / kRun] * nearest_code(x[i], kCodes, run_scale(i / kRun));
      aa += weights[i] * a * a;
      xa += weights[i] * x[i] * a;
    }
    if (aa > 0) d = rounded_to_half(static_cast<float>(xa / aa));
  }

  void run() {
    std::array<float, kRuns> fits;
    float largest = 0;
    for (std::size_t run = 0; run < kRuns; ++run) {
      fits[run] = fit_scale(x.subspan(run * kRun, kRun), weights.subspan(run * kRun, kRun), kCodes);
      if (std::fabs(fits[run]) > std::fabs(largest)) largest = fits[run];
    }
    d = rounded_to_half(largest / static_cast<float>(kScales.low));
    for (std::size_t run = 0; run < kRuns; ++run) scale[run] = nearest_code(fits[run], kScales, d);
    float error = move_scales();
    for (int round = 0; round < kRounds; ++round) {
      Search next = *this;
      next.refit_factor();
      const float next_error = next.move_scales();
      if (!(next_error < error)) return;
      *this = next;
      error = next_error;
    }
  }
};

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, out += kBytes) {
    Search search{values.subspan(at, kBlock), importance_of(importance, at, kBlock)};
    search.run();
    std::fill(out, out + kScalesAt, std::byte{0});
    for (std::size_t i = 0; i < kBlock; ++i) {
      const int code = nearest_code(search.x[i], kCodes, search.run_scale(i / kRun)) - kCodes.low;
      const std::size_t half = i / 128, quarter = i / 32 % 4, l = i % 32;
      out[half * 64 + quarter % 2 * 32 + l] |= static_cast<std::byte>((code & 15) << (quarter < 2 ? 0 : 4));
      out[kPairsAt + half * 32 + l] |= static_cast<std::byte>(code >> 4 << 2 * quarter);
    }
    for (std::size_t run = 0; run < kRuns; ++run) store_u8(out + kScalesAt + run, search.scale[run]);
    store_half(out + kFactorAt, search.d);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, in += kBytes) {
    const float d = load_half(in + kFactorAt);
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::size_t half = i / 128, quarter = i / 32 % 4, l = i % 32;
      const int low = load_u8(in + half * 64 + quarter % 2 * 32 + l) >> (quarter < 2 ? 0 : 4) & 15;
      const int pair = load_u8(in + kPairsAt + half * 32 + l) >> 2 * quarter & 3;
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(in[kScalesAt + i / kRun]));
      values[at + i] = scale * static_cast<float>((low | pair << 4) + kCodes.low);
    }
  }
}

}  // namespace

extern const Encoding kQ6_K;
const Encoding kQ6_K = {.name = "q6_k",
                        .ggml_type = 14,
                        .block_size = kBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_k"};

}  // namespace retort
