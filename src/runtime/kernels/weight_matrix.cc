#include "runtime/kernels/weight_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "formats/encodings/block.h"
#include "runtime/kernels/kernel_set.h"
#include "runtime/kernels/pack.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxChunkColumns = 256;
constexpr int kLargestHalfPower = 15, kSmallestHalfPower = -24;

// The power of two that MXFP4's scales are divided by: the largest of them becomes the largest that half
// precision holds. Throws Error when the smallest then vanishes.
int mxfp4_power(const WeightMatrix::Source& source) {
  int largest = 0, smallest = 255;
  for (std::size_t at = 0; at + 17 <= source.bytes.size(); at += 17) {
    if (is_zero_mxfp4(source.bytes.data() + at)) continue;
    const int exponent = load_u8(source.bytes.data() + at);
    largest = std::max(largest, exponent);
    smallest = std::min(smallest, exponent);
  }
  if (largest - smallest > kLargestHalfPower - kSmallestHalfPower && smallest <= largest)
    throw Error({.where = source.name,
                 .found = fmt::format("MXFP4 scales from 2^{} to 2^{}", smallest - 127, largest - 127),
                 .expected = "at most 39 octaves between them",
                 .advice = "Export the model in another encoding"});
  return largest - 128 - kLargestHalfPower;
}

}  // namespace

WeightMatrix::WeightMatrix(const Source& source, ThreadPool& pool)
    : rows_(source.rows), columns_(source.columns) {
  const Encoding& encoding = *source.encoding;
  const PackRule* rule = find_pack_rule(encoding.name);
  if (rule == nullptr)
    throw Error({.where = source.name,
                 .found = "weights in " + std::string(encoding.name),
                 .expected = "an encoding that the kernels multiply"});
  if (rows_ <= 0 || columns_ <= 0 || columns_ % encoding.block_size != 0)
    throw Error({.where = source.name,
                 .found = fmt::format("{} × {} weights", rows_, columns_),
                 .expected = fmt::format("rows of a multiple of {} weights for {}", encoding.block_size,
                                         encoding.name)});
  const auto row_bytes = static_cast<std::size_t>(encoding.byte_size(columns_));
  if (source.bytes.size() / row_bytes != static_cast<std::size_t>(rows_) ||
      source.bytes.size() % row_bytes != 0)
    throw Error({.where = source.name,
                 .found = fmt::format("{} bytes", source.bytes.size()),
                 .expected = fmt::format("{} × {} weights of {}", rows_, columns_, encoding.name)});
  if (!source.row_scales.empty() && source.row_scales.size() != static_cast<std::size_t>(rows_))
    throw Error({.where = source.name,
                 .found = fmt::format("{} scales", source.row_scales.size()),
                 .expected = fmt::format("one for each of {} rows", rows_)});
  format_ = rule->format;
  row_scales_.assign(source.row_scales.begin(), source.row_scales.end());
  float inverse_factor = 1;
  if (encoding.name == "mxfp4") {
    const int power = mxfp4_power(source);
    factor_ = std::ldexp(1.0f, power);
    inverse_factor = std::ldexp(1.0f, std::min(-power, 127));
  }
  panels_ = AlignedBuffer(static_cast<std::size_t>(panel_count() * panel_bytes()));
  const PanelLayout layout = panel_layout(format_);
  pool.parallel_for(panel_count(), 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      for (std::int64_t chunk = 0; chunk < chunks(); ++chunk) {
        std::byte* out = panels_.data() + panel * panel_bytes() + chunk * layout.bytes;
        clear_chunk(format_, out);
        for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
          const std::int64_t row = panel * kPanelRows + lane;
          if (row >= rows_) break;
          rule->pack_row(source.bytes.data() + static_cast<std::size_t>(row) * row_bytes, columns_, chunk,
                         lane, inverse_factor, out);
        }
      }
  });
}

std::int64_t WeightMatrix::chunks() const {
  const std::int64_t columns = panel_layout(format_).columns;
  return (columns_ + columns - 1) / columns;
}
std::int64_t WeightMatrix::panel_bytes() const { return chunks() * panel_layout(format_).bytes; }

ActivationForm WeightMatrix::form() const {
  switch (format_) {
    case PanelFormat::f32:
    case PanelFormat::f16:
      return ActivationForm::f32;
    case PanelFormat::bf16:
      return kernel_set().bf16_activations ? ActivationForm::bf16 : ActivationForm::f32;
    default:
      return ActivationForm::int8;
  }
}

void WeightMatrix::decode_row(std::int64_t row, std::span<float> out) const {
  if (row < 0 || row >= rows_ || out.size() != static_cast<std::size_t>(columns_))
    throw Error({.where = "decode_row",
                 .found = fmt::format("row {} into {} values", row, out.size()),
                 .expected = fmt::format("a row of {} × {} weights", rows_, columns_)},
                ErrorKind::failure);
  const PanelLayout layout = panel_layout(format_);
  std::array<float, kMaxChunkColumns> values;
  const float scale = factor_ * (row_scales_.empty() ? 1.0f : row_scales_[static_cast<std::size_t>(row)]);
  for (std::int64_t chunk = 0; chunk < chunks(); ++chunk) {
    decode_chunk(format_, panels_.data() + row / kPanelRows * panel_bytes() + chunk * layout.bytes,
                 row % kPanelRows, values);
    const std::int64_t first = chunk * layout.columns, last = std::min(columns_, first + layout.columns);
    for (std::int64_t c = first; c < last; ++c)
      out[static_cast<std::size_t>(c)] = values[static_cast<std::size_t>(c - first)] * scale;
  }
}

}  // namespace retort
