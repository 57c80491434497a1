#include <cstring>

#include "formats/encodings/encoding.h"

namespace retort {
namespace {

void encode(std::span<const float> values, std::span<const float>, std::byte* blocks) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = float_to_bf16(values[i]);
    std::memcpy(blocks + 2 * i, &bits, sizeof bits);
  }
}
void decode(const std::byte* blocks, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, blocks + 2 * i, sizeof bits);
    values[i] = bf16_to_float(bits);
  }
}

}  // namespace

extern const Encoding kBf16;
const Encoding kBf16 = {
    .name = "bf16", .ggml_type = 30, .bytes_per_block = 2, .encode = encode, .decode = decode};

}  // namespace retort
