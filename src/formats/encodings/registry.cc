// The encodings, one row each, by falling size.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/options.h"
#include "formats/encodings/encoding.h"

namespace retort {

extern const Encoding kF32, kF16, kBf16, kQ8_0, kQ6_K, kQ5_1, kQ5_0, kQ5_K, kQ4_1, kQ4_0, kQ4_K, kIq4Nl,
    kMxfp4, kQ8_1, kQ8_K;

std::span<const Encoding* const> encodings() {
  static constexpr std::array<const Encoding*, 15> kRows = {
      &kF32,  &kF16,  &kBf16, &kQ8_0,  &kQ6_K,  &kQ5_1, &kQ5_0, &kQ5_K,
      &kQ4_1, &kQ4_0, &kQ4_K, &kIq4Nl, &kMxfp4, &kQ8_1, &kQ8_K,
  };
  return kRows;
}

const Encoding& find_encoding(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const Encoding* encoding : encodings()) {
    if (encoding->name == name) return *encoding;
    if (!encoding->activations_only) names.emplace_back(encoding->name);
  }
  throw Error({.where = where,
               .found = "'" + std::string(name) + "'",
               .expected = "an encoding",
               .advice = suggest(name, names)});
}

const Encoding* find_ggml_encoding(std::uint32_t ggml_type) {
  for (const Encoding* encoding : encodings())
    if (encoding->ggml_type == ggml_type) return encoding;
  return nullptr;
}

const Encoding* encoding_of(DType type) {
  switch (type) {
    case DType::f32:
      return &kF32;
    case DType::f16:
      return &kF16;
    case DType::bf16:
      return &kBf16;
    default:
      return nullptr;
  }
}

std::optional<DType> dtype_of(const Encoding& encoding) {
  if (&encoding == &kF32) return DType::f32;
  if (&encoding == &kF16) return DType::f16;
  if (&encoding == &kBf16) return DType::bf16;
  return std::nullopt;
}

void encode_rows(const Encoding& encoding, std::span<const float> values, std::int64_t columns,
                 std::span<const float> importance, std::byte* blocks, const std::string& where) {
  if (columns % encoding.block_size != 0)
    throw Error({.where = where,
                 .found = fmt::format("rows of {} values", columns),
                 .expected = fmt::format("a multiple of the {} in a block of {}", encoding.block_size,
                                         encoding.name)});
  if (!importance.empty() && importance.size() != static_cast<std::size_t>(columns))
    throw Error({.where = where,
                 .found = fmt::format("{} importance weights", importance.size()),
                 .expected = fmt::format("{}, one for each column", columns)});
  const bool wide = &encoding == &kF32 || &encoding == &kBf16 || &encoding == &kMxfp4;
  constexpr float kMaxHalf = 65504;
  for (const float value : values)
    if (!std::isfinite(value) || (!wide && std::fabs(value) > kMaxHalf))
      throw Error(
          {.where = where,
           .found = fmt::format("the value {}", value),
           .expected = wide ? "finite numbers" : "at most 65504, the largest number of half precision",
           .advice = wide ? "The model is damaged, or its training diverged." : "Use f32 or bf16."});
  const auto row_values = static_cast<std::size_t>(columns);
  for (std::size_t at = 0; at < values.size(); at += row_values) {
    encoding.encode(values.subspan(at, row_values), importance, blocks);
    blocks += encoding.byte_size(columns);
  }
}

}  // namespace retort
