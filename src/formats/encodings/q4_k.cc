// 256 weights: half d, half dmin, 12 bytes of scales and minima, 128 bytes of nibbles (each 32 bytes: 64
// weights, the low nibbles first).
#include "formats/encodings/encoding.h"
#include "formats/encodings/importance.h"
#include "formats/encodings/k_block.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 144;
constexpr std::size_t kCodesAt = 4 + kKScaleBytes;

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kSuperBlock, out += kBytes) {
    const KBlock block =
        encode_k_block(values.subspan(at, kSuperBlock), importance_of(importance, at, kSuperBlock), 15);
    store_half(out, block.d);
    store_half(out + 2, block.dmin);
    store_k_scales(out + 4, block);
    for (std::size_t j = 0; j < kSuperBlock / 2; ++j) {
      const std::size_t i = j / 32 * 64 + j % 32;
      store_u8(out + kCodesAt + j, block.codes[i] | block.codes[i + 32] << 4);
    }
  }
}

void decode(const std::byte* in, std::span<float> values) {
  KBlock block;
  for (std::size_t at = 0; at < values.size(); at += kSuperBlock, in += kBytes) {
    block.d = load_half(in);
    block.dmin = load_half(in + 2);
    load_k_scales(in + 4, block);
    for (std::size_t run = 0; run < kKRuns; ++run) {
      const float scale = block.d * static_cast<float>(block.scale[run]);
      const float minimum = block.dmin * static_cast<float>(block.minimum[run]);
      const std::byte* codes = in + kCodesAt + run / 2 * 32;
      const int shift = run % 2 == 0 ? 0 : 4;
      for (std::size_t i = 0; i < kKRun; ++i)
        values[at + run * kKRun + i] = scale * static_cast<float>(load_u8(codes + i) >> shift & 15) - minimum;
    }
  }
}

}  // namespace

extern const Encoding kQ4_K;
const Encoding kQ4_K = {.name = "q4_k",
                        .ggml_type = 12,
                        .block_size = kSuperBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_k"};

}  // namespace retort
