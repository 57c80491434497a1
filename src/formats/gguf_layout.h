// What reader and writer of GGUF agree on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "formats/dtype.h"
#include "formats/gguf.h"

namespace retort {

inline constexpr std::uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr std::uint32_t kGgufVersion = 3;
inline constexpr std::uint64_t kGgufAlignment = 32;
inline constexpr std::size_t kGgufMaxDimensions = 4;
// Bytes of a tensor's name: ggml keeps 64 with the terminator.
inline constexpr std::size_t kGgufMaxName = 63;

inline std::uint64_t padded(std::uint64_t size, std::uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

// Bytes of one value; 0 for strings and arrays.
std::size_t gguf_type_size(GgufType type);

// ggml's plain types that are no weights: I8 24, I16 25, I32 26, I64 27, F64 28.
std::optional<DType> plain_ggml_type(std::uint32_t ggml_type);
// Of a view's encoding or dtype. Error for those that ggml has no type for.
std::uint32_t ggml_type_of(const TensorView& tensor);

struct ShardName {
  std::string stem;          // before "-00001-of-00003.gguf"
  int index = 0, count = 0;  // index from 1
};
std::optional<ShardName> parse_shard_name(const std::string& file_name);
std::string shard_name(const std::string& stem, int index, int count);

}  // namespace retort
