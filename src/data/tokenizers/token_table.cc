#include "data/tokenizers/token_table.h"

#include <xxhash.h>

#include <bit>

namespace retort {

bool TokenTable::add(TokenId id, std::string text) {
  const auto place = static_cast<std::size_t>(id);
  if (place >= texts_.size()) texts_.resize(place + 1);
  if (!texts_[place].empty()) return false;
  texts_[place] = std::move(text);
  return true;
}

void TokenTable::finish() {
  slots_.assign(std::bit_ceil(2 * texts_.size() + 1), -1);
  for (std::size_t id = 0; id < texts_.size(); ++id) {
    TokenId& slot = slots_[slot_of(texts_[id])];
    if (!texts_[id].empty() && slot < 0) slot = static_cast<TokenId>(id);
  }
}

std::optional<TokenId> TokenTable::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const TokenId id = slots_[slot_of(text)];
  return id < 0 ? std::nullopt : std::optional(id);
}

std::size_t TokenTable::slot_of(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = XXH3_64bits(text.data(), text.size()) & mask;
  while (slots_[at] >= 0 && texts_[static_cast<std::size_t>(slots_[at])] != text) at = (at + 1) & mask;
  return at;
}

}  // namespace retort
