// One way to store weights: blocks of a fixed number of weights along a row, each with its own scales. One
// file per encoding in this folder, one line each in registry.cc. Block layouts are ggml's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace retort {

struct Encoding {
  std::string_view name;        // "q8_0": as in --encoding
  std::uint32_t ggml_type = 0;  // GGUF's tensor type
  std::int64_t block_size = 1;  // weights a block; a row's length is a multiple of it
  std::int64_t bytes_per_block = 0;
  // values: a multiple of block_size. importance: as many non-negative weights of the squared error, or none
  // (all alike).
  void (*encode)(std::span<const float> values, std::span<const float> importance,
                 std::byte* blocks) = nullptr;
  // Equal to ggml's values to the bit.
  void (*decode)(const std::byte* blocks, std::span<float> values) = nullptr;
  // What activations are rounded to before a dot product with this encoding: "q8_0", "q8_k"; "" = they stay
  // fp32.
  std::string_view dot_partner = {};

  std::int64_t byte_size(std::int64_t elements) const { return elements / block_size * bytes_per_block; }
};

// All rows, in registry.cc.
std::span<const Encoding* const> encodings();
// Throws Error naming the nearest known one.
const Encoding& find_encoding(std::string_view name, const std::string& where);
// Null for a type that is not known.
const Encoding* find_ggml_encoding(std::uint32_t ggml_type);

}  // namespace retort
