// One way to store weights: blocks of a fixed number of weights along a row, each with its own scales. One
// file per encoding in this folder, one line each in registry.cc. Block layouts are ggml's; all numbers in
// them are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/dtype.h"

namespace retort {

struct Encoding {
  std::string_view name;        // "q8_0": as in --encoding
  std::uint32_t ggml_type = 0;  // GGUF's tensor type
  std::int64_t block_size = 1;  // weights a block; a row's length is a multiple of it
  std::int64_t bytes_per_block = 0;
  // values: a multiple of block_size, finite. importance: as many non-negative weights of the squared error,
  // or none (all alike). Callers use encode_rows, which checks.
  void (*encode)(std::span<const float> values, std::span<const float> importance,
                 std::byte* blocks) = nullptr;
  // Equal to ggml's values to the bit.
  void (*decode)(const std::byte* blocks, std::span<float> values) = nullptr;
  // What activations are rounded to before a dot product with this encoding: "q8_0", "q8_k"; "" = they stay
  // fp32.
  std::string_view dot_partner = {};
  bool activations_only = false;  // a partner: never the type of a stored tensor

  std::int64_t byte_size(std::int64_t elements) const { return elements / block_size * bytes_per_block; }
  double bits_per_weight() const {
    return 8.0 * static_cast<double>(bytes_per_block) / static_cast<double>(block_size);
  }
};

// All rows, in registry.cc.
std::span<const Encoding* const> encodings();
// Throws Error naming the nearest known one.
const Encoding& find_encoding(std::string_view name, const std::string& where);
// Null for a type that is not known.
const Encoding* find_ggml_encoding(std::uint32_t ggml_type);
// f32, f16 or bf16; null for other element types.
const Encoding* encoding_of(DType type);
// The element type of f32, f16 and bf16, whose blocks are single elements.
std::optional<DType> dtype_of(const Encoding& encoding);

// Codes whose scales lie beside the tensor, one a row: decode gives what the bare codes say. Not in the list:
// i8_channel exists in safetensors only, f8_channel (f8_channel.h) in memory only.
extern const Encoding kI8Channel, kF8Channel;

// Rows of `columns` values each. importance: empty, or one weight per column, the same for all rows. Throws
// Error (naming `where`) for values that are not finite or too large for the encoding's half-precision
// scales.
void encode_rows(const Encoding& encoding, std::span<const float> values, std::int64_t columns,
                 std::span<const float> importance, std::byte* blocks, const std::string& where);

}  // namespace retort
