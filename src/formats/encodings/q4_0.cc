// 32 weights: half d, 32 nibbles. value = d · (q - 8).
#include "formats/encodings/encoding.h"
#include "formats/encodings/symmetric.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 18;
constexpr int kOffset = 8;

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, out += kBytes) {
    const auto weights = importance.empty() ? importance : importance.subspan(at, kNibbleBlock);
    store_half(out, encode_symmetric(values.subspan(at, kNibbleBlock), weights, kOffset, codes));
    store_nibbles(out + 2, codes);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, in += kBytes) {
    const float d = load_half(in);
    load_nibbles(in + 2, codes);
    for (std::size_t i = 0; i < kNibbleBlock; ++i)
      values[at + i] = d * static_cast<float>(codes[i] - kOffset);
  }
}

}  // namespace

extern const Encoding kQ4_0;
const Encoding kQ4_0 = {.name = "q4_0",
                        .ggml_type = 2,
                        .block_size = kNibbleBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_0"};

}  // namespace retort
