#include "formats/encodings/encoding.h"

namespace retort {
namespace {

void decode(const std::byte* blocks, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(static_cast<std::int8_t>(blocks[i]));
}

}  // namespace

const Encoding kI8Channel = {.name = "i8_channel", .ggml_type = 24, .bytes_per_block = 1, .decode = decode};

}  // namespace retort
