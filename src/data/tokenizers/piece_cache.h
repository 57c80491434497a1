// Pieces of text repeat: what they were merged to is kept, up to a limit. Safe in several threads.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/token.h"

namespace retort {

class PieceCache {
 public:
  // Longer ones seldom repeat.
  static bool takes(std::string_view piece) { return piece.size() <= 48; }

  // Appends the ids kept for the piece; false if there are none.
  bool append(std::string_view piece, std::vector<TokenId>& ids);
  void keep(std::string_view piece, const TokenId* first, std::size_t count);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const;
  };
  // Threads seldom meet in one shard.
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<TokenId>, Hash, std::equal_to<>> kept;
  };
  Shard& shard_of(std::string_view piece);

  std::array<Shard, 16> shards_;
};

}  // namespace retort
