#include "formats/encodings/block.h"
#include "formats/encodings/encoding.h"

namespace retort {
namespace {

void encode(std::span<const float> values, std::span<const float>, std::byte* blocks) {
  for (std::size_t i = 0; i < values.size(); ++i) store_half(blocks + 2 * i, values[i]);
}
void decode(const std::byte* blocks, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = load_half(blocks + 2 * i);
}

}  // namespace

extern const Encoding kF16;
const Encoding kF16 = {
    .name = "f16", .ggml_type = 1, .bytes_per_block = 2, .encode = encode, .decode = decode};

}  // namespace retort
