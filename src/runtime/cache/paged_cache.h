// Keys and values of all running sequences, in blocks of a fixed number of positions (Kwon et al., "Efficient
// Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023): sequences grow without
// moving, forks share what they have in common and copy a block only when one of them writes to it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/cache/block_pool.h"

namespace retort {

using SequenceId = std::int32_t;

struct CacheOptions {
  std::int64_t tokens = 0;  // positions in all, rounded up to whole blocks
  std::int64_t block_tokens = 32;
  std::size_t block_bytes = 0;  // of all layers
};

class PagedCache {
 public:
  // Memory is reserved, and used only as blocks are first written.
  explicit PagedCache(const CacheOptions& options);
  ~PagedCache();
  PagedCache(const PagedCache&) = delete;
  PagedCache& operator=(const PagedCache&) = delete;

  // Sequences share remembered blocks with others of the same beginning (new_beginning(), or 0): a token's
  // keys and values depend on the weights that made them, and an adapter changes those.
  SequenceId add(PrefixId beginning = 0);
  PrefixId new_beginning() { return pool_.new_beginning(); }
  PrefixId beginning(SequenceId id) const { return sequence(id).beginning; }
  // How many sequences there are with this beginning.
  std::int64_t sequences(PrefixId beginning) const;
  void remove(SequenceId id);
  // A second sequence with the same past; what follows is its own.
  SequenceId fork(SequenceId id);
  // Gives an empty sequence the remembered blocks that begin `tokens` (never the last token, whose output is
  // wanted) and returns how many tokens they hold: none for a sequence that is not empty.
  std::int64_t reuse_prefix(SequenceId id, std::span<const TokenId> tokens);
  // Forgets all positions from `length` on.
  void truncate(SequenceId id, std::int64_t length);

  // Blocks that extend() by `count` would take.
  std::int64_t blocks_needed(SequenceId id, std::int64_t count) const;
  // Room for more positions. Throws Error, changing nothing, when there is none.
  void extend(SequenceId id, std::span<const TokenId> tokens);
  // The keys and values of all positions are written: full blocks can be found from now on.
  void commit(SequenceId id);

  std::int64_t length(SequenceId id) const { return static_cast<std::int64_t>(sequence(id).tokens.size()); }
  std::span<const TokenId> tokens(SequenceId id) const { return sequence(id).tokens; }
  std::span<const BlockId> blocks(SequenceId id) const { return sequence(id).blocks; }
  std::byte* block(BlockId id) const { return memory_ + static_cast<std::size_t>(id) * options_.block_bytes; }
  std::int64_t block_tokens() const { return options_.block_tokens; }
  std::int64_t available_blocks() const { return pool_.available(); }
  std::int64_t total_blocks() const { return total_blocks_; }
  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + options_.block_tokens - 1) / options_.block_tokens;
  }

 private:
  struct Sequence {
    bool live = false;
    PrefixId beginning = 0;
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    std::vector<PrefixId> prefixes;  // of its committed blocks
  };
  Sequence& sequence(SequenceId id) { return sequences_[static_cast<std::size_t>(id)]; }
  const Sequence& sequence(SequenceId id) const { return sequences_[static_cast<std::size_t>(id)]; }
  bool copies_last(const Sequence& s) const;
  static PrefixId last_prefix(const Sequence& s) {
    return s.prefixes.empty() ? s.beginning : s.prefixes.back();
  }

  CacheOptions options_;
  std::int64_t total_blocks_;
  BlockPool pool_;
  std::byte* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  std::vector<Sequence> sequences_;
  std::vector<SequenceId> free_ids_;
};

}  // namespace retort
