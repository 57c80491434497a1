#include "data/tokenizers/piece_cache.h"

#include <xxhash.h>

namespace retort {
namespace {

constexpr std::size_t kPiecesPerShard = 1 << 13;

}  // namespace

std::size_t PieceCache::Hash::operator()(std::string_view text) const {
  return XXH3_64bits(text.data(), text.size());
}

PieceCache::Shard& PieceCache::shard_of(std::string_view piece) {
  return shards_[(Hash()(piece) >> 32) % shards_.size()];
}

bool PieceCache::append(std::string_view piece, std::vector<TokenId>& ids) {
  Shard& shard = shard_of(piece);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.kept.find(piece);
  if (found == shard.kept.end()) return false;
  ids.insert(ids.end(), found->second.begin(), found->second.end());
  return true;
}

void PieceCache::keep(std::string_view piece, const TokenId* first, std::size_t count) {
  Shard& shard = shard_of(piece);
  const std::lock_guard lock(shard.mutex);
  if (shard.kept.size() < kPiecesPerShard)
    shard.kept.emplace(piece, std::vector<TokenId>(first, first + count));
}

}  // namespace retort
