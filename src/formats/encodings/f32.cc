#include <cstring>

#include "formats/encodings/encoding.h"

namespace retort {
namespace {

void encode(std::span<const float> values, std::span<const float>, std::byte* blocks) {
  if (!values.empty()) std::memcpy(blocks, values.data(), values.size_bytes());
}
void decode(const std::byte* blocks, std::span<float> values) {
  if (!values.empty()) std::memcpy(values.data(), blocks, values.size_bytes());
}

}  // namespace

extern const Encoding kF32;
const Encoding kF32 = {
    .name = "f32", .ggml_type = 0, .bytes_per_block = 4, .encode = encode, .decode = decode};

}  // namespace retort
