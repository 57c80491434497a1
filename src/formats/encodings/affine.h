// Codes from the smallest value up, under one scale: what Q4_1 and Q5_1 share.
#pragma once

#include <span>

#include "formats/encodings/nibbles.h"

namespace retort {

struct Affine {
  float d, m;  // not yet rounded to half
};

// Codes in 0 … max_code that stand for d · code + m. Without importance exactly as ggml does it: the smallest
// value gets code 0, the largest max_code. With importance d and m minimise the weighted squared error.
Affine encode_affine(std::span<const float> x, std::span<const float> importance, int max_code,
                     BlockCodes& codes);

}  // namespace retort
