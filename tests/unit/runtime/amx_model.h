// The tile instructions as the manual defines them (Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 2: LDTILECFG, TDPBF16PS, TILELOADD, TILESTORED, TILEZERO), for the kernels of AMX on
// processors without it. Included before the kernels' source, whose intrinsics it replaces.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace retort::amx_model {

struct Tile {
  int rows = 0, row_bytes = 0;
  std::uint8_t bytes[16][64] = {};
};
inline thread_local Tile tiles[8];

// What the processor would refuse with an exception ends the test.
inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

inline void load_config(const void* memory) {
  std::uint8_t config[64];
  std::memcpy(config, memory, sizeof config);
  require(config[0] == 1 && config[1] == 0);
  for (int i = 0; i < 8; ++i) {
    std::uint16_t row_bytes;
    std::memcpy(&row_bytes, config + 16 + 2 * i, 2);
    tiles[i] = {};
    tiles[i].rows = config[48 + i], tiles[i].row_bytes = row_bytes;
    require(tiles[i].rows <= 16 && row_bytes <= 64);
  }
}
inline void release() {
  for (Tile& tile : tiles) tile = {};
}
inline void zero(int tile) {
  require(tiles[tile].rows > 0);
  std::memset(tiles[tile].bytes, 0, sizeof tiles[tile].bytes);
}
inline void load(int tile, const void* from, std::int64_t stride) {
  zero(tile);
  for (int row = 0; row < tiles[tile].rows; ++row)
    std::memcpy(tiles[tile].bytes[row], static_cast<const std::uint8_t*>(from) + row * stride,
                static_cast<std::size_t>(tiles[tile].row_bytes));
}
inline void store(int tile, void* to, std::int64_t stride) {
  require(tiles[tile].rows > 0);
  for (int row = 0; row < tiles[tile].rows; ++row)
    std::memcpy(static_cast<std::uint8_t*>(to) + row * stride, tiles[tile].bytes[row],
                static_cast<std::size_t>(tiles[tile].row_bytes));
}
inline float bf16_at(const std::uint8_t* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return __builtin_bit_cast(float, std::uint32_t{bits} << 16);
}
// c[m][n] += Σ over k of a[m][k] · b[k][n] for the first of each pair of bf16, and the same for the second.
inline void dot_bf16(int c, int a, int b) {
  Tile &sums = tiles[c], &left = tiles[a], &right = tiles[b];
  require(left.rows == sums.rows && right.row_bytes == sums.row_bytes && left.row_bytes == 4 * right.rows);
  for (int m = 0; m < sums.rows; ++m)
    for (int n = 0; n < sums.row_bytes / 4; ++n) {
      float pair[2] = {}, sum;
      for (int k = 0; k < right.rows; ++k)
        for (int i = 0; i < 2; ++i)
          pair[i] = __builtin_fmaf(bf16_at(left.bytes[m] + 4 * k + 2 * i),
                                   bf16_at(right.bytes[k] + 4 * n + 2 * i), pair[i]);
      std::memcpy(&sum, sums.bytes[m] + 4 * n, 4);
      sum += pair[0] + pair[1];
      std::memcpy(sums.bytes[m] + 4 * n, &sum, 4);
    }
}

}  // namespace retort::amx_model

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig retort::amx_model::load_config
#define _tile_release retort::amx_model::release
#define _tile_zero retort::amx_model::zero
#define _tile_loadd retort::amx_model::load
#define _tile_stored retort::amx_model::store
#define _tile_dpbf16ps retort::amx_model::dot_bf16
