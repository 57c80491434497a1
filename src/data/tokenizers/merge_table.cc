#include "data/tokenizers/merge_table.h"

#include <bit>

namespace retort {

void MergeTable::reserve(std::size_t count) {
  slots_.assign(std::bit_ceil(2 * count + 2), Merge{0, -1, -1});
  mask_ = slots_.size() - 1;
}

void MergeTable::set(TokenId left, TokenId right, TokenId result, std::int32_t rank) {
  const std::uint64_t key = pair_of(left, right);
  std::size_t at = start_of(key);
  while (slots_[at].rank >= 0 && slots_[at].pair != key) at = (at + 1) & mask_;
  slots_[at] = {key, rank, result};
}

}  // namespace retort
