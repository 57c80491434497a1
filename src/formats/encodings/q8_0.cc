// 32 weights: half d, 32 int8. value = d · q.
#include <cmath>

#include "formats/encodings/block.h"
#include "formats/encodings/encoding.h"

namespace retort {
namespace {

constexpr std::size_t kBlock = 32, kBytes = 34;

void encode(std::span<const float> values, std::span<const float>, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, out += kBytes) {
    const auto x = values.subspan(at, kBlock);
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::fabs(value));
    const float d = largest / 127;
    const float inverse = inverse_or_zero(d);  // of d before it is rounded to half, as ggml does
    store_half(out, d);
    for (std::size_t i = 0; i < kBlock; ++i)
      store_u8(out + 2 + i, static_cast<int>(std::round(x[i] * inverse)));
  }
}

void decode(const std::byte* in, std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += kBlock, in += kBytes) {
    const float d = load_half(in);
    for (std::size_t i = 0; i < kBlock; ++i)
      values[at + i] = d * static_cast<float>(static_cast<std::int8_t>(in[2 + i]));
  }
}

}  // namespace

extern const Encoding kQ8_0;
const Encoding kQ8_0 = {.name = "q8_0",
                        .ggml_type = 8,
                        .block_size = kBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_0"};

}  // namespace retort
