// The layouts of formats/encodings as tensor operations, for devices on which the scalar decoders do not run.
#include "base/error.h"
#include "formats/encodings/k_block.h"
#include "model/blocks/encoded_weight.h"

namespace retort {
namespace {

constexpr std::int64_t kNibbles = 32;  // weights a block of q8_0 and q4_0

// Two bytes of each block as one number: fp32 [blocks, 1].
at::Tensor half_at(const at::Tensor& blocks, std::int64_t byte) {
  return blocks.narrow(1, byte, 2).contiguous().view(at::kHalf).to(at::kFloat);
}

at::Tensor decode_q8_0(const at::Tensor& blocks) {
  const at::Tensor codes = blocks.narrow(1, 2, kNibbles).contiguous().view(at::kChar);
  return half_at(blocks, 0) * codes.to(at::kFloat);
}

at::Tensor decode_q4_0(const at::Tensor& blocks) {
  const at::Tensor bytes = blocks.narrow(1, 2, kNibbles / 2);
  const at::Tensor codes = at::cat({bytes.bitwise_and(15), bytes.bitwise_right_shift(4)}, 1);
  return half_at(blocks, 0) * (codes.to(at::kFloat) - 8);
}

// 6-bit scales and minima of the eight runs (k_block.h): fp32 [blocks, 8] each.
std::pair<at::Tensor, at::Tensor> k_scales(const at::Tensor& bytes) {
  const at::Tensor a = bytes.narrow(1, 0, 4), b = bytes.narrow(1, 4, 4), c = bytes.narrow(1, 8, 4);
  const auto high = [](const at::Tensor& x) { return x.bitwise_right_shift(6).bitwise_left_shift(4); };
  const at::Tensor scales = at::cat({a.bitwise_and(63), c.bitwise_and(15).bitwise_or(high(a))}, 1),
                   minima = at::cat({b.bitwise_and(63), c.bitwise_right_shift(4).bitwise_or(high(b))}, 1);
  return {scales.to(at::kFloat), minima.to(at::kFloat)};
}

at::Tensor decode_q4_k(const at::Tensor& blocks) {
  const auto [scales, minima] = k_scales(blocks.narrow(1, 4, kKScaleBytes));
  const at::Tensor scale = (half_at(blocks, 0) * scales).unsqueeze(2),
                   minimum = (half_at(blocks, 2) * minima).unsqueeze(2);
  // Each 32 bytes hold two runs, the low nibbles first.
  const at::Tensor bytes =
      blocks.narrow(1, 4 + kKScaleBytes, kSuperBlock / 2).reshape({-1, kKRuns / 2, 1, kKRun});
  const at::Tensor codes =
      at::cat({bytes.bitwise_and(15), bytes.bitwise_right_shift(4)}, 2).reshape({-1, kKRuns, kKRun});
  return scale * codes.to(at::kFloat) - minimum;
}

struct DeviceDecoder {
  std::string_view encoding;
  at::Tensor (*decode)(const at::Tensor& blocks);  // uint8 [blocks, bytes_per_block] → fp32, block by block
};
constexpr DeviceDecoder kDecoders[] = {{"q8_0", decode_q8_0}, {"q4_0", decode_q4_0}, {"q4_k", decode_q4_k}};

const DeviceDecoder* find_decoder(const Encoding& encoding) {
  for (const DeviceDecoder& row : kDecoders)
    if (row.encoding == encoding.name) return &row;
  return nullptr;
}

}  // namespace

bool has_device_decoder(const Encoding& encoding) {
  return &encoding == &kI8Channel || &encoding == &kF8Channel || find_decoder(encoding) != nullptr;
}

at::Tensor decode_on_device(const Encoding& encoding, const at::Tensor& bytes) {
  if (&encoding == &kI8Channel) return bytes.contiguous().view(at::kChar).to(at::kFloat);
  if (&encoding == &kF8Channel) return bytes.contiguous().view(at::kFloat8_e4m3fn).to(at::kFloat);
  const at::Tensor blocks = bytes.reshape({-1, encoding.bytes_per_block});
  return find_decoder(encoding)->decode(blocks).reshape({bytes.size(0), -1});
}

}  // namespace retort
