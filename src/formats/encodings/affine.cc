#include "formats/encodings/affine.h"

#include <algorithm>

#include "formats/encodings/scale_search.h"

namespace retort {

Affine encode_affine(std::span<const float> x, std::span<const float> importance, int max_code,
                     BlockCodes& codes) {
  if (!importance.empty()) {
    const ScaleAndMinimum fit =
        fit_scale_and_minimum(x, importance, max_code, /*minimum_not_negative=*/false);
    const Affine affine = {rounded_to_half(fit.scale), rounded_to_half(-fit.minimum)};
    for (std::size_t i = 0; i < x.size(); ++i)
      codes[i] = nearest_code(x[i], {0, max_code}, affine.d, -affine.m);
    return affine;
  }
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const float d = (*high - *low) / static_cast<float>(max_code);
  const float inverse = inverse_or_zero(d);
  for (std::size_t i = 0; i < x.size(); ++i)
    codes[i] = std::min(max_code, static_cast<int>((x[i] - *low) * inverse + 0.5f));
  return {d, *low};
}

}  // namespace retort
