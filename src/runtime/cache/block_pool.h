// Which blocks of the key/value cache are free, shared or remembered. No memory is touched here: a block is a
// number.
//
// Full blocks can be found again by their tokens (prefix reuse; Kwon et al., "PagedAttention", SOSP 2023, and
// vLLM's automatic prefix caching). A block's identity is its tokens and the block before it, compared in
// full: a hash only finds the candidates, so that no collision can hand one user's cache to another.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace retort {

using BlockId = std::int32_t;
// Names the tokens from a sequence's begin to a block's end; 0 = the empty beginning.
using PrefixId = std::uint64_t;

class BlockPool {
 public:
  BlockPool(std::int64_t blocks, std::int64_t block_tokens);

  std::int64_t block_tokens() const { return block_tokens_; }
  // Blocks that nobody holds: unused ones, and remembered ones that would be forgotten.
  std::int64_t available() const { return available_; }

  // A block that nobody shares, with one holder; the longest unused remembered one is forgotten if need be.
  // Throws Error when every block is held.
  BlockId take();
  void share(BlockId block) { ++blocks_[index(block)].holders; }
  // A remembered block stays findable until its place is needed.
  void release(BlockId block);
  std::int64_t holders(BlockId block) const { return blocks_[index(block)].holders; }

  struct Found {
    BlockId block = -1;  // -1: not remembered
    PrefixId prefix = 0;
  };
  // The remembered block with these tokens after `parent`; the caller becomes a holder.
  Found find(PrefixId parent, std::span<const TokenId> tokens);
  // Makes a full block findable. When another block holds the same already, that one's identity is returned
  // and this one stays unknown.
  PrefixId remember(BlockId block, PrefixId parent, std::span<const TokenId> tokens);
  // A beginning of its own: what is remembered behind it is found behind it only.
  PrefixId new_beginning() { return next_prefix_++; }
  // Before a block is written to: it must no longer be found.
  void forget(BlockId block);

 private:
  struct Block {
    std::int64_t holders = 0;
    PrefixId prefix = 0, parent = 0;  // prefix 0: not remembered
    std::uint64_t hash = 0;
    std::vector<TokenId> tokens;     // of a remembered block
    BlockId older = -1, newer = -1;  // in the list of remembered blocks that nobody holds
  };
  static std::size_t index(BlockId block) { return static_cast<std::size_t>(block); }
  static std::uint64_t hash_of(PrefixId parent, std::span<const TokenId> tokens);
  BlockId lookup(std::uint64_t hash, PrefixId parent, std::span<const TokenId> tokens) const;
  void unlink(BlockId block);
  void append(BlockId block);

  std::int64_t block_tokens_, available_;
  std::vector<Block> blocks_;
  std::vector<BlockId> unused_;
  std::unordered_multimap<std::uint64_t, BlockId> remembered_;
  BlockId oldest_ = -1, newest_ = -1;
  PrefixId next_prefix_ = 1;
};

}  // namespace retort
