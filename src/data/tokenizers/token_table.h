// The tokens of a vocabulary, by id and by text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace retort {

class TokenTable {
 public:
  // False if the id is taken. id ≥ 0; of a text given twice the first id counts.
  bool add(TokenId id, std::string text);
  void finish();  // call once after the last add

  std::optional<TokenId> find(std::string_view text) const;
  const std::vector<std::string>& texts() const { return texts_; }  // by id; "" for a gap

 private:
  std::size_t slot_of(std::string_view text) const;

  std::vector<std::string> texts_;
  std::vector<TokenId> slots_;  // open addressing; -1: empty
};

}  // namespace retort
