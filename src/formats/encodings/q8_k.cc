// 256 activations beside the K types: float d, 256 int8, 16 int16 sums of 16 codes each. value = d · q.
#include <algorithm>
#include <cmath>

#include "formats/encodings/block.h"
#include "formats/encodings/encoding.h"

namespace retort {
namespace {

constexpr std::size_t kBlock = 256, kBytes = 292, kRun = 16;

void encode(std::span<const float> values, std::span<const float>, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, out += kBytes) {
    const auto x = values.subspan(at, kBlock);
    float largest = 0;  // with its sign: it gets code -127
    for (const float value : x)
      if (std::fabs(value) > std::fabs(largest)) largest = value;
    const float inverse = -127.0f * inverse_or_zero(largest);
    const float d = inverse_or_zero(inverse);
    std::memcpy(out, &d, sizeof d);
    for (std::size_t run = 0; run < kBlock / kRun; ++run) {
      int sum = 0;
      for (std::size_t i = run * kRun; i < (run + 1) * kRun; ++i) {
        const int code = std::min(127, static_cast<int>(std::nearbyint(x[i] * inverse)));
        sum += code;
        store_u8(out + 4 + i, code);
      }
      const auto stored = static_cast<std::int16_t>(sum);
      std::memcpy(out + 4 + kBlock + 2 * run, &stored, sizeof stored);
    }
  }
}

void decode(const std::byte* in, std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, in += kBytes) {
    float d;
    std::memcpy(&d, in, sizeof d);
    for (std::size_t i = 0; i < kBlock; ++i)
      values[at + i] = d * static_cast<float>(static_cast<std::int8_t>(in[4 + i]));
  }
}

}  // namespace

extern const Encoding kQ8_K;
const Encoding kQ8_K = {.name = "q8_k",
                        .ggml_type = 15,
                        .block_size = kBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .activations_only = true};

}  // namespace retort
