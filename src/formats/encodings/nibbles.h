// The layout that the 32-weight encodings share: byte j holds the low four bits of codes j and j + 16, and
// five-bit codes keep their top bits in a little-endian word of 32.
#pragma once

#include <array>

#include "formats/encodings/block.h"

namespace retort {

inline constexpr std::size_t kNibbleBlock = 32;
using BlockCodes = std::array<int, kNibbleBlock>;

inline void store_nibbles(std::byte* at, const BlockCodes& codes) {
  for (std::size_t j = 0; j < 16; ++j) store_u8(at + j, (codes[j] & 15) | (codes[j + 16] & 15) << 4);
}
inline void load_nibbles(const std::byte* at, BlockCodes& codes) {
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = load_u8(at + j) & 15;
    codes[j + 16] = load_u8(at + j) >> 4;
  }
}

// For five bits: the word of top bits, then the nibbles.
inline void store_five_bits(std::byte* at, const BlockCodes& codes) {
  std::uint32_t top = 0;
  for (std::size_t i = 0; i < kNibbleBlock; ++i) top |= static_cast<std::uint32_t>(codes[i] >> 4 & 1) << i;
  std::memcpy(at, &top, sizeof top);
  store_nibbles(at + sizeof top, codes);
}
inline void load_five_bits(const std::byte* at, BlockCodes& codes) {
  std::uint32_t top;
  std::memcpy(&top, at, sizeof top);
  load_nibbles(at + sizeof top, codes);
  for (std::size_t i = 0; i < kNibbleBlock; ++i) codes[i] |= static_cast<int>(top >> i & 1) << 4;
}

}  // namespace retort
