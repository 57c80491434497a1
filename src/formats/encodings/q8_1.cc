// 32 activations beside Q4_1 and Q5_1: half d, half d · Σ q, 32 int8. value = d · q.
#include <cmath>

#include "formats/encodings/block.h"
#include "formats/encodings/encoding.h"

namespace retort {
namespace {

constexpr std::size_t kBlock = 32, kBytes = 36;

void encode(std::span<const float> values, std::span<const float>, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, out += kBytes) {
    const auto x = values.subspan(at, kBlock);
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    const float d = largest / 127;
    const float inverse = inverse_or_zero(d);
    int sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const int code = static_cast<int>(std::round(x[i] * inverse));
      sum += code;
      store_u8(out + 4 + i, code);
    }
    store_half(out, d);
    store_half(out + 2, static_cast<float>(sum) * d);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, in += kBytes) {
    const float d = load_half(in);
    for (std::size_t i = 0; i < kBlock; ++i)
      values[at + i] = d * static_cast<float>(static_cast<std::int8_t>(in[4 + i]));
  }
}

}  // namespace

extern const Encoding kQ8_1;
const Encoding kQ8_1 = {.name = "q8_1",
                        .ggml_type = 9,
                        .block_size = kBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .activations_only = true};

}  // namespace retort
