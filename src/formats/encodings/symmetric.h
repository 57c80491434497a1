// Codes around zero under one scale: what Q4_0 and Q5_0 share.
#pragma once

#include <span>

#include "formats/encodings/nibbles.h"

namespace retort {

// Codes in 0 … 2·offset - 1 that stand for d · (code - offset). Without importance exactly as ggml does it:
// the value of largest magnitude gets code 0, the rest follow from it. With importance d minimises the
// weighted squared error. Returns d, not yet rounded to half.
float encode_symmetric(std::span<const float> x, std::span<const float> importance, int offset,
                       BlockCodes& codes);

}  // namespace retort
