#include "formats/encodings/symmetric.h"

#include <algorithm>
#include <cmath>

#include "formats/encodings/scale_search.h"

namespace retort {

float encode_symmetric(std::span<const float> x, std::span<const float> importance, int offset,
                       BlockCodes& codes) {
  if (!importance.empty()) {
    const Grid grid = {-offset, offset - 1};
    const float d = rounded_to_half(fit_scale(x, importance, grid));
    for (std::size_t i = 0; i < x.size(); ++i) codes[i] = nearest_code(x[i], grid, d) + offset;
    return d;
  }
  float largest = 0;  // with its sign
  for (const float value : x)
    if (std::fabs(value) > std::fabs(largest)) largest = value;
  const float d = largest / static_cast<float>(-offset);
  const float inverse = inverse_or_zero(d);
  const float half_up = static_cast<float>(offset) + 0.5f;
  for (std::size_t i = 0; i < x.size(); ++i)
    codes[i] = std::min(2 * offset - 1, static_cast<int>(x[i] * inverse + half_up));
  return d;
}

}  // namespace retort
