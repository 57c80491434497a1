// 256 weights: half d, half dmin, 12 bytes of scales and minima, 32 bytes of top bits (bit r of byte i: run
// r, weight i), 128 bytes of nibbles as in Q4_K.
#include "formats/encodings/encoding.h"
#include "formats/encodings/importance.h"
#include "formats/encodings/k_block.h"

namespace retort {
namespace {

constexpr std::size_t kBytes = 176;
constexpr std::size_t kTopAt = 4 + kKScaleBytes, kCodesAt = kTopAt + 32;

void encode(std::span<const float> values, std::span<const float> importance, std::byte* out) {
  for (std::size_t at = 0; at < values.size(); at += kSuperBlock, out += kBytes) {
    const KBlock block =
        encode_k_block(values.subspan(at, kSuperBlock), importance_of(importance, at, kSuperBlock), 31);
    store_half(out, block.d);
    store_half(out + 2, block.dmin);
    store_k_scales(out + 4, block);
    for (std::size_t i = 0; i < kKRun; ++i) {
      int top = 0;
      for (std::size_t run = 0; run < kKRuns; ++run) top |= block.codes[run * kKRun + i] >> 4 << run;
      store_u8(out + kTopAt + i, top);
    }
    for (std::size_t j = 0; j < kSuperBlock / 2; ++j) {
      const std::size_t i = j / 32 * 64 + j % 32;
      store_u8(out + kCodesAt + j, (block.codes[i] & 15) | (block.codes[i + 32] & 15) << 4);
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
      for (std::size_t i = 0; i < kKRun; ++i) {
        const int code = (load_u8(codes + i) >> shift & 15) | (load_u8(in + kTopAt + i) >> run & 1) << 4;
        values[at + run * kKRun + i] = scale * static_cast<float>(code) - minimum;
      }
    }
  }
}

}  // namespace

extern const Encoding kQ5_K;
const Encoding kQ5_K = {.name = "q5_k",
                        .ggml_type = 13,
                        .block_size = kSuperBlock,
                        .bytes_per_block = kBytes,
                        .encode = encode,
                        .decode = decode,
                        .dot_partner = "q8_k"};

}  // namespace retort
