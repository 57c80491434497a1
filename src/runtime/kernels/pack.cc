#include "runtime/kernels/pack.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "formats/encodings/block.h"
#include "formats/encodings/k_block.h"
#include "formats/encodings/nibbles.h"

namespace retort {
namespace {

using Run = std::array<std::uint8_t, 32>;

void put_half(std::byte* at, std::int64_t index, const std::byte* bits) {
  std::memcpy(at + 2 * index, bits, 2);
}

void put_bytes(std::byte* vectors, std::int64_t lane, const Run& codes) {
  for (std::int64_t q = 0; q < 8; ++q) std::memcpy(vectors + q * 64 + lane * 4, codes.data() + 4 * q, 4);
}

void put_nibbles(std::byte* vectors, std::int64_t lane, const Run& codes) {
  std::array<std::uint8_t, 16> nibbles;
  for (std::size_t j = 0; j < 16; ++j)
    nibbles[j] = static_cast<std::uint8_t>((codes[j] & 15) | codes[j + 16] << 4);
  for (std::int64_t v = 0; v < 4; ++v) std::memcpy(vectors + v * 64 + lane * 4, nibbles.data() + 4 * v, 4);
}

void put_pairs(std::byte* vectors, std::int64_t lane, const Run& codes) {
  for (std::size_t v = 0; v < 2; ++v)
    for (std::size_t j = 0; j < 4; ++j) {
      int pairs = 0;
      for (std::size_t i = 0; i < 4; ++i) pairs |= codes[16 * v + 4 * i + j] >> 4 << 2 * i;
      store_u8(vectors + v * 64 + static_cast<std::size_t>(lane) * 4 + j, pairs);
    }
}

void split_nibbles(const std::byte* at, Run& codes) {
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = static_cast<std::uint8_t>(at[j]) & 15;
    codes[j + 16] = static_cast<std::uint8_t>(at[j]) >> 4;
  }
}

void split_five_bits(const std::byte* at, Run& codes) {
  BlockCodes wide;
  load_five_bits(at, wide);
  for (std::size_t i = 0; i < 32; ++i) codes[i] = static_cast<std::uint8_t>(wide[i]);
}

// ---- 32 columns a block

// body(run, block) for the runs of a 64-column chunk that the row has.
template <class Body>
void for_runs(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t bytes_per_block,
              const Body& body) {
  for (std::int64_t run = 0; run < 2; ++run) {
    const std::int64_t block = 2 * chunk + run;
    if (block * kRun < columns) body(run, row + block * bytes_per_block);
  }
}

void pack_q8_0(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  for_runs(row, columns, chunk, 34, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    Run codes;
    std::memcpy(codes.data(), block + 2, 32);
    for (auto& code : codes) code ^= 0x80;
    put_bytes(out + 64 + run * 512, lane, codes);
  });
}

void pack_q5_0(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  for_runs(row, columns, chunk, 22, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    Run codes;
    split_five_bits(block + 2, codes);
    for (auto& code : codes) code = static_cast<std::uint8_t>(code + 128 - 16);
    put_bytes(out + 64 + run * 512, lane, codes);
  });
}

void pack_q4_0(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  for_runs(row, columns, chunk, 18, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    for (std::int64_t v = 0; v < 4; ++v)  // the nibbles lie as in the file
      std::memcpy(out + 64 + run * 256 + v * 64 + lane * 4, block + 2 + 4 * v, 4);
  });
}

void pack_q4_1(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  for_runs(row, columns, chunk, 20, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    put_half(out + 64 + run * 32, lane, block + 2);
    for (std::int64_t v = 0; v < 4; ++v)
      std::memcpy(out + 128 + run * 256 + v * 64 + lane * 4, block + 4 + 4 * v, 4);
  });
}

void pack_q5_1(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  for_runs(row, columns, chunk, 24, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    put_half(out + 64 + run * 32, lane, block + 2);
    Run codes;
    split_five_bits(block + 4, codes);
    put_bytes(out + 128 + run * 512, lane, codes);
  });
}

// The sixteen numbers of an encoding whose nibbles index a table, as its own decoder says them.
using Table = std::array<std::uint8_t, 16>;
Table table_of(std::string_view encoding, std::span<const std::byte> unit_scale) {
  std::array<std::byte, 32> block = {};
  std::copy(unit_scale.begin(), unit_scale.end(), block.begin());
  for (std::size_t j = 0; j < 16; ++j) block[unit_scale.size() + j] = static_cast<std::byte>(j);
  std::array<float, 32> values;
  find_encoding(encoding, "kernels").decode(block.data(), values);
  Table table;
  for (std::size_t j = 0; j < 16; ++j)
    table[j] = static_cast<std::uint8_t>(static_cast<int>(values[j]) + 128);
  return table;
}

void put_looked_up(const Table& table, const std::byte* nibbles, std::int64_t lane, std::byte* vectors) {
  Run codes;
  split_nibbles(nibbles, codes);
  for (auto& code : codes) code = table[code];
  put_bytes(vectors, lane, codes);
}

void pack_iq4_nl(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
                 std::byte* out) {
  constexpr std::array kOne = {std::byte{0x00}, std::byte{0x3c}};  // half 1
  static const Table table = table_of("iq4_nl", kOne);
  for_runs(row, columns, chunk, 18, [&](std::int64_t run, const std::byte* block) {
    put_half(out + run * 32, lane, block);
    put_looked_up(table, block + 2, lane, out + 64 + run * 512);
  });
}

// Its powers of two reach further than half precision: they are stored divided by the matrix' factor.
void pack_mxfp4(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane,
                float inverse_factor, std::byte* out) {
  constexpr std::array kOne = {std::byte{128}};
  static const Table table = table_of("mxfp4", kOne);
  for_runs(row, columns, chunk, 17, [&](std::int64_t run, const std::byte* block) {
    const double power = is_zero_mxfp4(block) ? 0 : __builtin_ldexp(1.0, load_u8(block) - 128);
    store_half(out + run * 32 + lane * 2, static_cast<float>(power * static_cast<double>(inverse_factor)));
    put_looked_up(table, block + 1, lane, out + 64 + run * 512);
  });
}

void pack_i8(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
             std::byte* out) {
  constexpr std::array kOne = {std::byte{0x00}, std::byte{0x3c}};
  for (std::int64_t run = 0; run < 2; ++run) {
    const std::int64_t first = (2 * chunk + run) * kRun;
    if (first >= columns) continue;
    put_half(out + run * 32, lane, kOne.data());
    Run codes = {};
    std::memcpy(codes.data(), row + first, static_cast<std::size_t>(std::min(kRun, columns - first)));
    for (auto& code : codes) code ^= 0x80;
    put_bytes(out + 64 + run * 512, lane, codes);
  }
}

// ---- 256 columns a block

void put_k_head(const std::byte* block, std::int64_t lane, std::byte* out) {
  put_half(out, lane, block);
  put_half(out + 32, lane, block + 2);
  KBlock scales;
  load_k_scales(block + 4, scales);
  for (std::size_t run = 0; run < kKRuns; ++run) {
    store_u8(out + 64 + run * 16 + static_cast<std::size_t>(lane), scales.scale[run]);
    store_u8(out + 192 + run * 16 + static_cast<std::size_t>(lane), scales.minimum[run]);
  }
}

// Each 32 bytes hold 64 codes: low nibbles the even run, high nibbles the odd one.
void split_k_nibbles(const std::byte* nibbles, std::size_t run, Run& codes) {
  const int shift = run % 2 == 0 ? 0 : 4;
  for (std::size_t i = 0; i < 32; ++i)
    codes[i] = static_cast<std::uint8_t>(load_u8(nibbles + run / 2 * 32 + i) >> shift & 15);
}

void pack_q4_k(const std::byte* row, std::int64_t, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  const std::byte* block = row + chunk * 144;
  put_k_head(block, lane, out);
  Run codes;
  for (std::size_t run = 0; run < kKRuns; ++run) {
    split_k_nibbles(block + 16, run, codes);
    put_nibbles(out + 320 + run * 256, lane, codes);
  }
}

void pack_q5_k(const std::byte* row, std::int64_t, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  const std::byte* block = row + chunk * 176;
  put_k_head(block, lane, out);
  Run codes;
  for (std::size_t run = 0; run < kKRuns; ++run) {
    split_k_nibbles(block + 48, run, codes);
    for (std::size_t i = 0; i < 32; ++i)
      codes[i] = static_cast<std::uint8_t>(codes[i] | (load_u8(block + 16 + i) >> run & 1) << 4);
    put_bytes(out + 320 + run * 512, lane, codes);
  }
}

void pack_q6_k(const std::byte* row, std::int64_t, std::int64_t chunk, std::int64_t lane, float,
               std::byte* out) {
  const std::byte* block = row + chunk * 210;
  put_half(out, lane, block + 208);
  for (std::size_t group = 0; group < 16; ++group)
    out[32 + group * 16 + static_cast<std::size_t>(lane)] = block[192 + group];
  Run codes;
  for (std::size_t run = 0; run < 8; ++run) {
    const std::size_t half = run / 4, quarter = run % 4;
    for (std::size_t i = 0; i < 32; ++i) {
      const int low = load_u8(block + half * 64 + quarter % 2 * 32 + i) >> (quarter < 2 ? 0 : 4) & 15;
      const int pair = load_u8(block + 128 + half * 32 + i) >> 2 * quarter & 3;
      codes[i] = static_cast<std::uint8_t>(low | pair << 4);
    }
    put_nibbles(out + 320 + run * 256, lane, codes);
    put_pairs(out + 2368 + run * 128, lane, codes);
  }
}

// ---- plain numbers

template <std::size_t kSize, std::size_t kTogether>
void pack_plain(const std::byte* row, std::int64_t columns, std::int64_t chunk, std::int64_t lane, float,
                std::byte* out) {
  constexpr std::int64_t kBytes = kSize * kTogether;
  const std::int64_t first = chunk * 64, last = std::min<std::int64_t>(columns, first + 64);
  for (std::int64_t c = first; c < last; ++c) {
    const std::int64_t step = (c - first) / static_cast<std::int64_t>(kTogether);
    const std::int64_t within = (c - first) % static_cast<std::int64_t>(kTogether);
    std::memcpy(out + (step * kPanelRows + lane) * kBytes + within * static_cast<std::int64_t>(kSize),
                row + c * static_cast<std::int64_t>(kSize), kSize);
  }
}

constexpr PackRule kRules[] = {
    {"q8_0", PanelFormat::u8, pack_q8_0},        {"q5_0", PanelFormat::u8, pack_q5_0},
    {"iq4_nl", PanelFormat::u8, pack_iq4_nl},    {"mxfp4", PanelFormat::u8, pack_mxfp4},
    {"i8_channel", PanelFormat::u8, pack_i8},    {"q5_1", PanelFormat::u8_min, pack_q5_1},
    {"q4_0", PanelFormat::u4, pack_q4_0},        {"q4_1", PanelFormat::u4_min, pack_q4_1},
    {"q4_k", PanelFormat::k4, pack_q4_k},        {"q5_k", PanelFormat::k5, pack_q5_k},
    {"q6_k", PanelFormat::k6, pack_q6_k},        {"f32", PanelFormat::f32, pack_plain<4, 1>},
    {"f16", PanelFormat::f16, pack_plain<2, 1>}, {"bf16", PanelFormat::bf16, pack_plain<2, 2>},
};

// ---- back again

int code_at(const std::byte* vectors, std::int64_t lane, std::int64_t column) {
  return load_u8(vectors + column / 4 * 64 + lane * 4 + column % 4);
}
int nibble_at(const std::byte* vectors, std::int64_t lane, std::int64_t column) {
  return load_u8(vectors + column % 16 / 4 * 64 + lane * 4 + column % 4) >> (column < 16 ? 0 : 4) & 15;
}
int pair_at(const std::byte* vectors, std::int64_t lane, std::int64_t column) {
  return load_u8(vectors + column / 16 * 64 + lane * 4 + column % 4) >> 2 * (column % 16 / 4) & 3;
}

}  // namespace

const PackRule* find_pack_rule(std::string_view encoding) {
  const auto* rule = std::find_if(std::begin(kRules), std::end(kRules),
                                  [&](const PackRule& candidate) { return candidate.encoding == encoding; });
  return rule == std::end(kRules) ? nullptr : rule;
}

bool is_zero_mxfp4(const std::byte* block) {
  return std::all_of(block + 1, block + 17, [](std::byte b) { return (b & std::byte{0x77}) == std::byte{}; });
}

void clear_chunk(PanelFormat format, std::byte* chunk) {
  std::memset(chunk, 0, static_cast<std::size_t>(panel_layout(format).bytes));
}

void decode_chunk(PanelFormat format, const std::byte* chunk, std::int64_t lane, std::span<float> values) {
  const PanelLayout layout = panel_layout(format);
  const auto half = [&](std::int64_t at) { return load_half(chunk + at + lane * 2); };
  const auto factor = [&](std::int64_t at) { return static_cast<float>(load_u8(chunk + at + lane)); };
  const std::byte* codes = chunk + layout.codes_at;
  for (std::int64_t c = 0; c < layout.columns; ++c) {
    const std::int64_t run = c / kRun, i = c % kRun;
    float value = 0;
    switch (format) {
      case PanelFormat::u8:
        value = half(run * 32) * static_cast<float>(code_at(codes + run * 512, lane, i) - 128);
        break;
      case PanelFormat::u8_min:
        value = half(run * 32) * static_cast<float>(code_at(codes + run * 512, lane, i));
        value += half(64 + run * 32);
        break;
      case PanelFormat::u4:
        value = half(run * 32) * static_cast<float>(nibble_at(codes + run * 256, lane, i) - 8);
        break;
      case PanelFormat::u4_min:
        value = half(run * 32) * static_cast<float>(nibble_at(codes + run * 256, lane, i));
        value += half(64 + run * 32);
        break;
      case PanelFormat::k4:
      case PanelFormat::k5: {
        const int code = format == PanelFormat::k4 ? nibble_at(codes + run * 256, lane, i)
                                                   : code_at(codes + run * 512, lane, i);
        const float minimum = half(32) * factor(192 + run * 16);
        value = half(0) * factor(64 + run * 16) * static_cast<float>(code);
        value -= minimum;
        break;
      }
      case PanelFormat::k6: {
        const int code = nibble_at(codes + run * 256, lane, i) | pair_at(chunk + 2368 + run * 128, lane, i)
                                                                     << 4;
        const auto scale = static_cast<std::int8_t>(load_u8(chunk + 32 + (c / 16) * 16 + lane));
        value = half(0) * static_cast<float>(scale) * static_cast<float>(code - 32);
        break;
      }
      case PanelFormat::f32:
        std::memcpy(&value, chunk + (c * kPanelRows + lane) * 4, 4);
        break;
      case PanelFormat::f16:
        value = load_half(chunk + (c * kPanelRows + lane) * 2);
        break;
      case PanelFormat::bf16: {
        std::uint16_t bits;
        std::memcpy(&bits, chunk + (c / 2 * kPanelRows + lane) * 4 + c % 2 * 2, 2);
        value = bf16_to_float(bits);
        break;
      }
    }
    values[static_cast<std::size_t>(c)] = value;
  }
}

}  // namespace retort
