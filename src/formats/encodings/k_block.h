// 256 weights in eight runs of 32, each with a 6-bit scale and a 6-bit minimum under two half-precision
// factors: what Q4_K and Q5_K share. value = d · scale · q - dmin · minimum.
#pragma once

#include <array>
#include <span>

#include "formats/encodings/block.h"

namespace retort {

inline constexpr std::size_t kSuperBlock = 256, kKRuns = 8, kKRun = 32, kKScaleBytes = 12;

struct KBlock {
  float d = 0, dmin = 0;                             // already as half precision keeps them
  std::array<int, kKRuns> scale = {}, minimum = {};  // 0 … 63
  std::array<int, kSuperBlock> codes = {};
};

// Searches for the least weighted squared error: runs are fitted apart, then scales, minima, factors and
// codes together.
KBlock encode_k_block(std::span<const float> x, std::span<const float> weights, int max_code);

// The 12 bytes. Bytes 0-3 and 4-7: low six bits of scales 0-3 and minima 0-3; bytes 8-11: low nibbles of
// scales 4-7 (low) and minima 4-7 (high), whose top two bits lie on top of bytes 0-3 and 4-7.
void store_k_scales(std::byte* at, const KBlock& block);
void load_k_scales(const std::byte* at, KBlock& block);

}  // namespace retort
