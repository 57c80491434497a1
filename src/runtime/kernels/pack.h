// From the blocks of a file to panels, and back for single rows.
#pragma once

#include <span>
#include <vector>

#include "formats/encodings/encoding.h"
#include "runtime/kernels/panel.h"

namespace retort {

// One row of an encoding's blocks, taken apart into 32 columns (or 256 of a K encoding) at a time.
struct PackRule {
  std::string_view encoding;
  PanelFormat format;
  // Writes row `lane` of the chunk at `out`, whose place in the row is `chunk`; columns beyond the row's end
  // are left as they are (zero).
  void (*pack_row)(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane,
                   float inverse_factor, std::byte* out);
};

// Null: an encoding that kernels do not multiply.
const PackRule* find_pack_rule(std::string_view encoding);

// A block of MXFP4 whose numbers are all zero: its exponent says nothing, and may be one that no half holds.
bool is_zero_mxfp4(const std::byte* block);

// Makes an empty chunk: zero weights.
void clear_chunk(PanelFormat format, std::byte* chunk);

// Row `lane` of one chunk in fp32; values: as many as the chunk has columns.
void decode_chunk(PanelFormat format, const std::byte* chunk, std::int64_t lane, std::span<float> values);

}  // namespace retort
