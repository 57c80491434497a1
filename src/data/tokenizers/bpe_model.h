// Byte-pair encoding (Sennrich et al. 2016) of one piece, as the `tokenizers` library's BPE model does it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/token.h"
#include "data/tokenizers/merge_table.h"
#include "data/tokenizers/piece_cache.h"
#include "data/tokenizers/token_table.h"

namespace retort {

class BpeModel {
 public:
  // tokenizer.json's "model"; its vocab may also be a list of [token, id], as open_tokenizer makes it. Throws
  // Error for missing or unusable merges, duplicate ids and options that change results and are not
  // supported.
  BpeModel(const Json& json, const std::string& where);

  // Appends the piece's ids.
  void encode(std::string_view piece, std::vector<TokenId>& ids) const;

  std::optional<TokenId> token_id(std::string_view token) const { return tokens_.find(token); }
  const std::vector<std::string>& tokens() const { return tokens_.texts(); }  // by id; "" for a gap

 private:
  void read_vocabulary(const Json& vocabulary, const std::string& where);
  void read_merges(const Json& merges, const std::string& where);
  void append_characters(std::string_view piece, std::vector<TokenId>& symbols) const;
  void merge_few(std::vector<TokenId>& symbols) const;
  void merge_many(std::vector<TokenId>& symbols) const;

  TokenTable tokens_;
  MergeTable merges_;
  std::array<TokenId, 1024> low_characters_;  // ids of the characters below U+0400, -1: not in the vocabulary
  std::optional<TokenId> unknown_;
  std::vector<TokenId> byte_tokens_;  // of <0x00> … <0xFF>, when byte_fallback works
  bool fuse_unknown_, ignore_merges_;
  mutable PieceCache cache_;
};

}  // namespace retort
