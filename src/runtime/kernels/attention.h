// Causal attention over a paged key/value cache, with grouped queries and an optional sliding window. Sums
// are fp32; the softmax is taken block by block (online, as in Dao et al., "FlashAttention", 2022), so no row
// of scores exists whole.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "runtime/kernels/kernel_set.h"

namespace retort {

enum class CacheType : std::uint8_t { f16, q8, f32 };

// One layer's part of a cache block. Per key/value head: keys [head_dim][tokens], then values
// [tokens][head_dim]. q8 has 8-bit codes in the same order, then the scales (fp32) of the head: one per token
// for keys, one per token for values.
struct CacheLayout {
  CacheType type = CacheType::f16;
  std::int64_t block_tokens = 32;  // a multiple of 16, at most 64
  std::int64_t kv_heads = 0, head_dim = 0;

  std::int64_t element_bytes() const { return type == CacheType::f32 ? 4 : type == CacheType::f16 ? 2 : 1; }
  std::int64_t head_bytes() const {
    const std::int64_t bytes = 2 * block_tokens * head_dim * element_bytes();
    const std::int64_t scales = type == CacheType::q8 ? 2 * block_tokens * 4 : 0;
    return (bytes + scales + 63) / 64 * 64;
  }
  std::int64_t bytes() const { return kv_heads * head_bytes(); }  // a multiple of 64
};

// The blocks of one sequence in one layer: block i's part lies at base + blocks[i] · block_stride.
struct CachedSequence {
  std::span<const std::int32_t> blocks;
  std::int64_t past = 0;         // positions before the first of these queries
  std::int64_t first_query = 0;  // row of q, k, v and out
  std::int64_t queries = 0;
  bool prompt = false;  // more than one query are, too
  bool tiles = false;   // whether products of its rows may be made by tiles
};

struct AttentionLayer {
  CacheLayout cache;
  std::byte* base = nullptr;        // of this layer's part of block 0; at a multiple of 64
  std::int64_t block_stride = 0;    // bytes; a multiple of 64
  std::int64_t heads = 0;           // a multiple of cache.kv_heads
  std::int64_t sliding_window = 0;  // a query sees this many last keys, itself included; 0 = all
  float scale = 0;                  // of scores: 1 / √head_dim
};

// Keys and values of the new positions past … past + queries - 1. k, v: [rows][kv_heads · head_dim], rows
// `stride` apart.
struct NewKeys {
  const float* k = nullptr;
  const float* v = nullptr;
  std::int64_t stride = 0;
};
void write_cache(const AttentionLayer& layer, std::span<const CachedSequence> sequences, const NewKeys& rows,
                 ThreadPool& pool, const KernelSet& set = kernel_set());

// q, out: [rows][heads · head_dim], rows `stride` apart. The new positions are in the cache already. Where it
// is not fp32, those of a prompt are rounded to about its precision, by tiles to bf16.
struct AttentionRows {
  const float* q = nullptr;
  float* out = nullptr;
  std::int64_t q_stride = 0, out_stride = 0;
};
void attend(const AttentionLayer& layer, std::span<const CachedSequence> sequences, const AttentionRows& rows,
            ThreadPool& pool, const KernelSet& set = kernel_set());

// What one thread does: some queries of one sequence, all heads that share one key/value head. Plain members
// only: the kernel sets must not call inline functions of others.
struct AttentionJob {
  CacheType type = CacheType::f16;
  std::int64_t block_tokens = 0, head_dim = 0;
  const std::byte* keys = nullptr;  // of this head in block 0
  std::int64_t values_at = 0;       // bytes from the keys to the values
  std::int64_t block_stride = 0;
  const std::int32_t* blocks = nullptr;  // of the sequence
  std::int64_t past = 0;                 // the position of its query 0
  std::int64_t sliding_window = 0;
  std::int64_t first = 0, last = 0;  // queries, counted within the sequence
  std::int64_t group = 1;            // heads
  bool rounded = false;              // products may be those of 16-bit integers
  float scale = 0;
  const float* q = nullptr;  // of query `first`, the group's first head
  float* out = nullptr;
  std::int64_t q_stride = 0, out_stride = 0;
  float* scratch = nullptr;  // attention_scratch floats
};
std::int64_t attention_scratch(const AttentionLayer& layer);
// About so many tokens are taken together by tiles.
inline constexpr std::int64_t kAttentionSpan = 128;
// Query tokens a job has at most.
std::int64_t attention_queries(const AttentionLayer& layer);

}  // namespace retort
