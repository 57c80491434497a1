#include "runtime/kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/kernels/aligned_buffer.h"

namespace retort {
namespace {

constexpr std::int64_t kRowsInJob = 128;

struct HeadPlanes {
  std::byte *keys, *values;
  float* scales;  // q8: [2][tokens]
};

HeadPlanes planes_of(const AttentionLayer& layer, const CachedSequence& sequence, std::int64_t block,
                     std::int64_t kv_head) {
  const CacheLayout& cache = layer.cache;
  std::byte* head = layer.base + sequence.blocks[static_cast<std::size_t>(block)] * layer.block_stride +
                    kv_head * cache.head_bytes();
  const std::int64_t plane = cache.block_tokens * cache.head_dim * cache.element_bytes();
  return {head, head + plane, reinterpret_cast<float*>(head + 2 * plane)};
}

template <class T>
void scatter(const T* row, std::int64_t n, std::int64_t stride, T* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i * stride] = row[i];
}

void write_token(const AttentionLayer& layer, const CachedSequence& sequence, std::int64_t position,
                 std::int64_t kv_head, const float* k, const float* v, const KernelSet& set) {
  constexpr std::int64_t kMost = 1024;  // head_dim at a time
  const CacheLayout& cache = layer.cache;
  const std::int64_t tokens = cache.block_tokens, slot = position % tokens, dim = cache.head_dim;
  const HeadPlanes planes = planes_of(layer, sequence, position / tokens, kv_head);
  if (cache.type == CacheType::f32) {
    scatter(k, dim, tokens, reinterpret_cast<float*>(planes.keys) + slot);
    std::memcpy(planes.values + slot * dim * 4, v, static_cast<std::size_t>(dim) * 4);
  } else if (cache.type == CacheType::f16) {
    std::uint16_t halves[kMost];
    auto* keys = reinterpret_cast<std::uint16_t*>(planes.keys) + slot;
    for (std::int64_t d = 0; d < dim; d += kMost) {
      const std::int64_t n = std::min(kMost, dim - d);
      set.to_f16(k + d, halves, n);
      scatter(halves, n, tokens, keys + d * tokens);
    }
    set.to_f16(v, reinterpret_cast<std::uint16_t*>(planes.values) + slot * dim, dim);
  } else {
    std::vector<std::int8_t> codes(static_cast<std::size_t>(dim));
    planes.scales[slot] = set.to_int8(k, codes.data(), dim);
    scatter(codes.data(), dim, tokens, reinterpret_cast<std::int8_t*>(planes.keys) + slot);
    planes.scales[tokens + slot] =
        set.to_int8(v, reinterpret_cast<std::int8_t*>(planes.values) + slot * dim, dim);
  }
}

}  // namespace

// A piece of work is one head of one block: two threads in the lines of one would wait for each other.
void write_cache(const AttentionLayer& layer, std::span<const CachedSequence> sequences, const NewKeys& rows,
                 ThreadPool& pool, const KernelSet& set) {
  const CacheLayout& cache = layer.cache;
  constexpr std::int64_t kWorthSharing = 8;  // tokens
  for (const CachedSequence& sequence : sequences) {
    if (sequence.queries == 0) continue;
    const std::int64_t tokens = cache.block_tokens, end = sequence.past + sequence.queries;
    const std::int64_t first_block = sequence.past / tokens,
                       pieces = ((end - 1) / tokens - first_block + 1) * cache.kv_heads;
    const std::int64_t grain = sequence.queries < kWorthSharing ? pieces : 1;
    pool.parallel_for(pieces, grain, [&](std::int64_t first, std::int64_t last, int) {
      for (std::int64_t piece = first; piece < last; ++piece) {
        const std::int64_t block = first_block + piece / cache.kv_heads, head = piece % cache.kv_heads;
        for (std::int64_t position = std::max(sequence.past, block * tokens);
             position < std::min(end, (block + 1) * tokens); ++position) {
          const std::int64_t at =
              (sequence.first_query + position - sequence.past) * rows.stride + head * cache.head_dim;
          write_token(layer, sequence, position, head, rows.k + at, rows.v + at, set);
        }
      }
    });
  }
}

std::int64_t attention_queries(const AttentionLayer& layer) {
  return std::max<std::int64_t>(1, kRowsInJob * layer.cache.kv_heads / layer.heads);
}

std::int64_t attention_scratch(const AttentionLayer& layer) {
  const CacheLayout& cache = layer.cache;
  const std::int64_t width = (cache.head_dim + 15) / 16 * 16;
  const std::int64_t rows = attention_queries(layer) * (layer.heads / cache.kv_heads) + 16;
  const std::int64_t tiles = kAttentionSpan * (16 + width + 8);  // scores; keys and values as bf16
  return 2 * cache.block_tokens * (width + 1) + rows * (cache.block_tokens + 2 * width + 3) + tiles + 16;
}

void attend(const AttentionLayer& layer, std::span<const CachedSequence> sequences, const AttentionRows& rows,
            ThreadPool& pool, const KernelSet& set) {
  struct Piece {
    const CachedSequence* sequence;
    std::int64_t kv_head, first;
  };
  const std::int64_t step = attention_queries(layer);
  std::vector<Piece> pieces;
  for (const CachedSequence& sequence : sequences)
    // The longest first.
    for (std::int64_t first = (sequence.queries - 1) / step * step; first >= 0; first -= step)
      for (std::int64_t head = 0; head < layer.cache.kv_heads; ++head)
        if (sequence.queries > 0) pieces.push_back({&sequence, head, first});
  const auto scratch = static_cast<std::size_t>(attention_scratch(layer)) * sizeof(float);
  // One query against a short past is too little work to share.
  std::int64_t work = 0;
  for (const CachedSequence& sequence : sequences)
    work += sequence.queries * (sequence.past + sequence.queries) * layer.heads * layer.cache.head_dim;
  constexpr std::int64_t kWorthSharing = 1 << 17;
  const auto count = static_cast<std::int64_t>(pieces.size());
  pool.parallel_for(
      count, work < kWorthSharing ? std::max<std::int64_t>(1, count) : 1,
      [&](std::int64_t begin, std::int64_t end, int) {
        thread_local AlignedBuffer memory;  // kept from layer to layer
        memory.reserve(scratch);
        for (std::int64_t i = begin; i < end; ++i) {
          const Piece& piece = pieces[static_cast<std::size_t>(i)];
          const CachedSequence& sequence = *piece.sequence;
          const std::int64_t group = layer.heads / layer.cache.kv_heads;
          const std::int64_t row = sequence.first_query + piece.first;
          const std::int64_t column = piece.kv_head * group * layer.cache.head_dim;
          set.attend(
              {.type = layer.cache.type,
               .block_tokens = layer.cache.block_tokens,
               .head_dim = layer.cache.head_dim,
               .keys = layer.base + piece.kv_head * layer.cache.head_bytes(),
               .values_at = layer.cache.block_tokens * layer.cache.head_dim * layer.cache.element_bytes(),
               .block_stride = layer.block_stride,
               .blocks = sequence.blocks.data(),
               .past = sequence.past,
               .sliding_window = layer.sliding_window,
               .first = piece.first,
               .last = std::min(piece.first + step, sequence.queries),
               .group = group,
               .rounded = (sequence.prompt || sequence.queries > 1) && layer.cache.type != CacheType::f32,
               .scale = layer.scale,
               .q = rows.q + row * rows.q_stride + column,
               .out = rows.out + row * rows.out_stride + column,
               .q_stride = rows.q_stride,
               .out_stride = rows.out_stride,
               .scratch = reinterpret_cast<float*>(memory.data())});
        }
      });
}

}  // namespace retort
