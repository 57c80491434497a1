#include "runtime/cache/block_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace retort {

BlockPool::BlockPool(std::int64_t blocks, std::int64_t block_tokens)
    : block_tokens_(block_tokens), available_(blocks), blocks_(static_cast<std::size_t>(blocks)) {
  // Low numbers first: they lie at the front of the cache's memory, whose untouched end costs nothing.
  for (std::int64_t block = blocks; block-- > 0;) unused_.push_back(static_cast<BlockId>(block));
}

BlockId BlockPool::take() {
  BlockId block;
  if (!unused_.empty()) {
    block = unused_.back();
    unused_.pop_back();
  } else if (oldest_ >= 0) {
    block = oldest_;
    unlink(block);
    forget(block);
  } else {
    throw Error({.where = "key/value cache",
                 .found = fmt::format("all {} blocks of {} tokens in use", blocks_.size(), block_tokens_),
                 .expected = "a free one",
                 .advice = "Raise --cache-tokens, or run fewer or shorter sequences together"},
                ErrorKind::failure);
  }
  blocks_[index(block)].holders = 1;
  --available_;
  return block;
}

void BlockPool::release(BlockId block) {
  Block& b = blocks_[index(block)];
  if (--b.holders > 0) return;
  ++available_;
  if (b.prefix == 0)
    unused_.push_back(block);
  else
    append(block);
}

BlockPool::Found BlockPool::find(PrefixId parent, std::span<const TokenId> tokens) {
  const BlockId block = lookup(hash_of(parent, tokens), parent, tokens);
  if (block < 0) return {};
  Block& b = blocks_[index(block)];
  if (b.holders++ == 0) {
    unlink(block);
    --available_;
  }
  return {block, b.prefix};
}

PrefixId BlockPool::remember(BlockId block, PrefixId parent, std::span<const TokenId> tokens) {
  const std::uint64_t hash = hash_of(parent, tokens);
  if (const BlockId same = lookup(hash, parent, tokens); same >= 0) return blocks_[index(same)].prefix;
  Block& b = blocks_[index(block)];
  b.prefix = next_prefix_++;
  b.parent = parent;
  b.hash = hash;
  b.tokens.assign(tokens.begin(), tokens.end());
  remembered_.emplace(hash, block);
  return b.prefix;
}

void BlockPool::forget(BlockId block) {
  Block& b = blocks_[index(block)];
  if (b.prefix == 0) return;
  const auto [begin, end] = remembered_.equal_range(b.hash);
  remembered_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == block; }));
  b.prefix = 0;
}

std::uint64_t BlockPool::hash_of(PrefixId parent, std::span<const TokenId> tokens) {
  return hash64({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()}, parent);
}

BlockId BlockPool::lookup(std::uint64_t hash, PrefixId parent, std::span<const TokenId> tokens) const {
  const auto [begin, end] = remembered_.equal_range(hash);
  for (auto entry = begin; entry != end; ++entry) {
    const Block& b = blocks_[index(entry->second)];
    if (b.parent == parent && std::ranges::equal(b.tokens, tokens)) return entry->second;
  }
  return -1;
}

void BlockPool::unlink(BlockId block) {
  Block& b = blocks_[index(block)];
  (b.older < 0 ? oldest_ : blocks_[index(b.older)].newer) = b.newer;
  (b.newer < 0 ? newest_ : blocks_[index(b.newer)].older) = b.older;
  b.older = b.newer = -1;
}

void BlockPool::append(BlockId block) {
  Block& b = blocks_[index(block)];
  b.older = newest_;
  (newest_ < 0 ? oldest_ : blocks_[index(newest_)].newer) = block;
  newest_ = block;
}

}  // namespace retort
