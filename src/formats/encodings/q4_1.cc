// 32 weights: half d, half m, 32 nibbles. value = d · q + m.
#include "formats/encodings/affine.h"
#include "formats/encodings/encoding.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 20;
constexpr int kMaxCode = 15;

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, out += kBytes) {
    const auto weights = importance.empty() ? importance : importance.subspan(at, kNibbleBlock);
    const Affine affine = encode_affine(values.subspan(at, kNibbleBlock), weights, kMaxCode, codes);
    store_half(out, affine.d);
    store_half(out + 2, affine.m);
    store_nibbles(out + 4, codes);
  }
}

void decode(const std::byte* in, std::span<float> values) {
  BlockCodes codes;
  for (std::size_t at = 0; at < values.size(); at += kNibbleBlock, in += kBytes) {
    const float d = load_half(in), m = load_half(in + 2);
    load_nibbles(in + 4, codes);
    for (std::size_t i = 0; i < kNibbleBlock; ++i) values[at + i] = d * static_cast<float>(codes[i]) + m;
  }
}

}  // namespace

extern const Encoding kQ4_1;
const Encoding kQ4_1 = {.name = "q4_1",
                        .ggml_type = 3,
                        .block_size = kNibbleBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_1"};

}  // namespace retort
