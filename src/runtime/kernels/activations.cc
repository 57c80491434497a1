#include "runtime/kernels/activations.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::int64_t kTileRows = 16, kTileColumns = 32;

}  // namespace

void Activations::assign(const ActivationInput& input, ActivationForms forms, ThreadPool& pool,
                         const KernelSet& set) {
  const auto wanted = [&](ActivationForm form) { return (forms & static_cast<unsigned>(form)) != 0; };
  rows_ = input.rows;
  columns_ = input.columns;
  padded_ = (columns_ + kColumnMultiple - 1) / kColumnMultiple * kColumnMultiple;
  forms_ = forms;
  const auto values = static_cast<std::size_t>(rows_ * padded_);
  const auto row_bytes = static_cast<std::size_t>(padded_) * sizeof(float);
  if (wanted(ActivationForm::f32)) f32_.reserve(values * sizeof(float));
  if (wanted(ActivationForm::int8)) runs_.reserve(values / kRun * sizeof(ActivationRun));
  if (wanted(ActivationForm::bf16)) bf16_.reserve(values * sizeof(std::uint16_t));
  const bool rounded = wanted(ActivationForm::int8) || wanted(ActivationForm::bf16);
  tile_rows_ = set.tiles && rounded ? input.tile_rows : std::span<const std::int64_t>();
  const auto tiles = (static_cast<std::int64_t>(tile_rows_.size()) + kTileRows - 1) / kTileRows;
  tiles_.reserve(static_cast<std::size_t>(tiles * kTileRows * padded_) * sizeof(std::uint16_t));
  if (!wanted(ActivationForm::f32)) scratch_.reserve(static_cast<std::size_t>(pool.threads()) * row_bytes);

  constexpr std::int64_t kPiece = 16384;  // values: below that a second thread does not pay
  pool.parallel_for(rows_, 1 + kPiece / padded_, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t row = begin; row < end; ++row) {
      ActivationJob job{.x = input.x + row * input.stride,
                        .columns = columns_,
                        .padded = padded_,
                        .norm = input.norm.kind,
                        .weight = input.norm.weight,
                        .bias = input.norm.bias,
                        .eps = input.norm.eps,
                        .limit = input.limit};
      job.f32_wanted = wanted(ActivationForm::f32);
      job.f32 = reinterpret_cast<float*>(job.f32_wanted ? f32_.data() : scratch_.data()) +
                (job.f32_wanted ? row : thread) * padded_;
      const auto tile_row = std::lower_bound(tile_rows_.begin(), tile_rows_.end(), row);
      if (tile_row != tile_rows_.end() && *tile_row == row) {
        const std::int64_t at = tile_row - tile_rows_.begin();
        job.bf16 = reinterpret_cast<std::uint16_t*>(tiles_.data()) + at / kTileRows * kTileRows * padded_ +
                   at % kTileRows * kTileColumns;
        job.bf16_step = kTileRows * kTileColumns;
        set.activation_row(job);
        continue;
      }
      if (wanted(ActivationForm::int8))
        job.runs = reinterpret_cast<ActivationRun*>(runs_.data()) + row * padded_ / kRun;
      if (wanted(ActivationForm::bf16))
        job.bf16 = reinterpret_cast<std::uint16_t*>(bf16_.data()) + row * padded_;
      set.activation_row(job);
    }
  });
}

std::span<const float> Activations::row(std::int64_t i) const {
  const Rows rows = form(ActivationForm::f32);
  return {reinterpret_cast<const float*>(rows.data + i * rows.stride), static_cast<std::size_t>(columns_)};
}

Activations::Rows Activations::form(ActivationForm form) const {
  if ((forms_ & static_cast<unsigned>(form)) == 0)
    throw Error({.where = "activations",
                 .found = fmt::format("forms {:#x}", forms_),
                 .expected = fmt::format("form {:#x}, which a matrix needs", static_cast<unsigned>(form))},
                ErrorKind::failure);
  switch (form) {
    case ActivationForm::f32:
      return {f32_.data(), padded_ * 4};
    case ActivationForm::bf16:
      return {bf16_.data(), padded_ * 2};
    case ActivationForm::int8:
      break;
  }
  return {runs_.data(), padded_ / kRun * static_cast<std::int64_t>(sizeof(ActivationRun))};
}

void Activations::parts(ActivationForm form, std::vector<Part>& out) const {
  const bool tiles = form != ActivationForm::f32 && !tile_rows_.empty();
  const Rows rows = this->form(form);
  const auto add_rows = [&](std::int64_t first, std::int64_t end) {
    if (first < end)
      out.push_back({{rows.data + first * rows.stride, rows.stride}, first, end - first, nullptr});
  };
  std::int64_t first = 0;
  if (tiles) {
    for (const std::int64_t row : tile_rows_) {
      add_rows(first, row);
      first = row + 1;
    }
    out.push_back({{tiles_.data(), 0}, 0, static_cast<std::int64_t>(tile_rows_.size()), tile_rows_.data()});
  }
  add_rows(first, rows_);
}

}  // namespace retort
