// Byte-pair encoding (Sennrich et al. 2016) of one piece, as the `tokenizers` library's BPE model does it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "base/token.h"

namespace retort {

class BpeModel {
 public:
  // tokenizer.json's "model"; its vocab may also be a list of [token, id], as open_tokenizer makes it. Throws Error for missing or unusable merges, duplicate ids and options that change results and
  // are not supported.
  BpeModel(const Json& json, const std::string& where);

  // Appends the piece's ids.
  void encode(const std::string& piece, std::vector<TokenId>& ids) const;

  std::optional<TokenId> token_id(std::string_view token) const;
  const std::vector<std::string>& tokens() const { return tokens_; }  // by id; "" for a gap

 private:
  struct Merge {
    std::int32_t rank;
    TokenId result;
  };
  std::vector<TokenId> merge(const std::string& piece) const;
  std::vector<TokenId> characters(const std::string& piece) const;

  std::unordered_map<std::string, TokenId> ids_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // left << 32 | right
  std::optional<TokenId> unknown_;
  std::vector<TokenId> byte_tokens_;  // of <0x00> … <0xFF>, when byte_fallback works
  bool fuse_unknown_, ignore_merges_;

  // Pieces repeat: their ids are kept, up to a limit.
  mutable std::mutex cache_mutex_;
  mutable std::unordered_map<std::string, std::vector<TokenId>> cache_;
};

}  // namespace retort
