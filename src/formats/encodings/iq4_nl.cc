// 32 weights: half d, 32 nibbles that index sixteen values, denser around zero as weights are. value = d ·
// kValues[q].
#include <array>
#include <cmath>

#include "formats/encodings/encoding.h"
#include "formats/encodings/importance.h"
#include "formats/encodings/nibbles.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 18;
constexpr std::array<float, 16> kValues = {-127, -104, -83, -65, -49, -35, -22, -10,
                                           1,    13,   25,  38,  53,  69,  89,  113};
constexpr int kTurns = 4;

int nearest(float x) {
  int code = 0;
  while (code < 15 &&
         x > (kValues[static_cast<std::size_t>(code)] + kValues[static_cast<std::size_t>(code) + 1]) / 2)
    ++code;
  return code;
}

// The d of least weighted squared error that half precision holds, by the same ladder and turns as in
// scale_search.h.
float fit(std::span<const float> x, std::span<const float> weights) {
  float largest = 0;
  for (const float value : x)
    if (std::fabs(value) > std::fabs(largest)) largest = value;
  if (largest == 0) return 0;
  float best = 0, best_gain = -1;
  const auto try_inverse = [&](float inverse) {
    for (int turn = 0; turn < kTurns; ++turn) {
      float vv = 0, xv = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const float v = kValues[static_cast<std::size_t>(nearest(x[i] * inverse))];
        vv += weights[i] * v * v;
        xv += weights[i] * x[i] * v;
      }
      if (!(vv > 0)) return;
      const float d = xv / vv, gain = xv * d;
      if (!(gain > best_gain * (1 + 1e-6f))) return;
      best_gain = gain;
      best = d;
      inverse = inverse_or_zero(d);
      if (inverse == 0) return;
    }
  };
  for (int step = -12; step <= 12; ++step) {
    const float shift = static_cast<float>(step);
    try_inverse((kValues.front() - shift) / largest);
    try_inverse((kValues.back() + shift) / largest);
  }
  return rounded_to_half(best);
}

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, out += kBytes) {
    const auto x = values.subspan(at, kNibbleBlock);
    const float d = fit(x, importance_of(importance, at, kNibbleBlock));
    const float inverse = inverse_or_zero(d);
    for (std::size_t i = 0; i < kNibbleBlock; ++i) codes[i] = nearest(x[i] * inverse);
    store_half(out, d);
    store_nibbles(out + 2, codes);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, in += kBytes) {
    const float d = load_half(in);
    load_nibbles(in + 2, codes);
    for (std::size_t i = 0; i < kNibbleBlock; ++i)
      values[at + i] = d * kValues[static_cast<std::size_t>(codes[i])];
  }
}

}  // namespace

extern const Encoding kIq4Nl;
const Encoding kIq4Nl = {.name = "iq4_nl",
                         .ggml_type = 20,
                         .block_size = kNibbleBlock,
                         .bytes_per_block = kBytes,
                         .encode = encode,
                         .decode = decode,
                         .dot_partner = "q8_0"};

}  // namespace retort
