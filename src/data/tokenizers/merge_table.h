// Which pairs of tokens merge, in what order, into what.
#pragma once

#include <cstdint>
#include <vector>

#include "base/token.h"

namespace retort {

class MergeTable {
 public:
  struct Merge {
    std::uint64_t pair;  // left << 32 | right
    std::int32_t rank;   // lower merges first; -1: an empty slot
    TokenId result;
  };

  void reserve(std::size_t count);                                           // at most this many pairs follow
  void set(TokenId left, TokenId right, TokenId result, std::int32_t rank);  // the last one of a pair counts
  const Merge* find(TokenId left, TokenId right) const {                     // null: they do not merge
    const std::uint64_t key = pair_of(left, right);
    for (std::size_t at = start_of(key);; at = (at + 1) & mask_) {
      const Merge& merge = slots_[at];
      if (merge.rank < 0) return nullptr;
      if (merge.pair == key) return &merge;
    }
  }

 private:
  static std::uint64_t pair_of(TokenId left, TokenId right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  // Fibonacci hashing: ids are dense, their product's upper bits are not.
  std::size_t start_of(std::uint64_t key) const {
    const std::uint64_t product = key * 0x9E3779B97F4A7C15u;
    return static_cast<std::size_t>((product ^ product >> 32) & mask_);
  }

  std::vector<Merge> slots_ = std::vector<Merge>(1, Merge{0, -1, -1});
  std::size_t mask_ = 0;
};

}  // namespace retort
