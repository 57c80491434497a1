#include "data/tokenizers/bpe_model.h"

#include <fmt/format.h>

#include <queue>

#include "base/error.h"
#include "data/tokenizers/unicode.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxVocabulary = 1 << 24;
constexpr std::size_t kCachedPieces = 1 << 17, kCachedPieceBytes = 256;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

void refuse_affixes(const Json& json, const std::string& where) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!json_get_or<std::string>(json, key, "", where).empty())
      throw Error({.where = where + ": " + key,
                   .found = json.at(key).dump(),
                   .expected = "none",
                   .advice = "Byte-level and metaspace vocabularies need none."});
  if (json_get_or<double>(json, "dropout", 0, where) != 0)
    throw Error(
        {.where = where + ": dropout", .found = json.at("dropout").dump(), .expected = "null", .advice = ""});
}

std::pair<std::string, std::string> parse_merge(const Json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return {merge[0], merge[1]};
  if (merge.is_string()) {
    const std::string text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && space > 0 && space + 1 < text.size() &&
        text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  throw Error({.where = where + ": merges",
               .found = merge.dump(),
               .expected = "\"left right\" or [\"left\", \"right\"]",
               .advice = ""});
}

}  // namespace

BpeModel::BpeModel(const Json& json, const std::string& where)
    : fuse_unknown_(json_get_or<bool>(json, "fuse_unk", false, where)),
      ignore_merges_(json_get_or<bool>(json, "ignore_merges", false, where)) {
  refuse_affixes(json, where);
  const Json vocabulary = json.value("vocab", Json());
  if (!vocabulary.is_structured() || vocabulary.empty())
    throw Error(
        {.where = where + ": vocab", .found = "none", .expected = "a map of tokens to ids", .advice = ""});
  if (!json.contains("merges") || !json["merges"].is_array())
    throw Error({.where = where + ": merges",
                 .found = "none",
                 .expected = "a list",
                 .advice = "A BPE vocabulary cannot be used without its merges."});
  for (const auto& [key, item] : vocabulary.items()) {
    const std::string& token = vocabulary.is_array() ? item.at(0).get_ref<const std::string&>() : key;
    const Json& value = vocabulary.is_array() ? item.at(1) : item;
    const std::int64_t id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
    if (id < 0 || id >= kMaxVocabulary)
      throw Error({.where = where + ": vocab: '" + token + "'",
                   .found = value.dump(),
                   .expected = fmt::format("an id below {}", kMaxVocabulary),
                   .advice = ""});
    if (static_cast<std::size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<std::size_t>(id) + 1);
    std::string& place = tokens_[static_cast<std::size_t>(id)];
    if (!place.empty())
      throw Error({.where = where + ": vocab",
                   .found = fmt::format("id {} for '{}' and '{}'", id, place, token),
                   .expected = "one token an id",
                   .advice = ""});
    place = token;
    ids_.emplace(token, static_cast<TokenId>(id));
  }
  merges_.reserve(json["merges"].size());
  std::int32_t rank = 0;
  for (const Json& item : json["merges"]) {
    const auto [left, right] = parse_merge(item, where);
    const auto left_id = token_id(left), right_id = token_id(right), result = token_id(left + right);
    if (!left_id || !right_id || !result)
      throw Error({.where = fmt::format("{}: merge {}", where, rank),
                   .found = "'" + left + "' + '" + right + "'",
                   .expected = "tokens of the vocabulary",
                   .advice = ""});
    merges_.insert_or_assign(pair_key(*left_id, *right_id), Merge{rank++, *result});
  }
  if (const std::string unknown = json_get_or<std::string>(json, "unk_token", "", where); !unknown.empty()) {
    unknown_ = token_id(unknown);
    if (!unknown_)
      throw Error({.where = where + ": unk_token",
                   .found = "'" + unknown + "'",
                   .expected = "a token of the vocabulary",
                   .advice = ""});
  }
  if (json_get_or<bool>(json, "byte_fallback", false, where)) {
    for (int byte = 0; byte < 256; ++byte)
      if (const auto id = token_id(fmt::format("<0x{:02X}>", byte))) byte_tokens_.push_back(*id);
    if (byte_tokens_.size() != 256) byte_tokens_.clear();
  }
}

std::optional<TokenId> BpeModel::token_id(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::vector<TokenId> BpeModel::characters(const std::string& piece) const {
  std::vector<TokenId> symbols;
  bool last_unknown = false;
  for (std::size_t at = 0; at < piece.size();) {
    const auto length = static_cast<std::size_t>(code_point_at(piece, at).length);
    const std::string character = piece.substr(at, length);
    at += length;
    const bool was_unknown = std::exchange(last_unknown, false);
    if (const auto id = token_id(character)) {
      symbols.push_back(*id);
    } else if (!byte_tokens_.empty()) {
      for (const char byte : character) symbols.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
    } else if (unknown_) {
      if (!(fuse_unknown_ && was_unknown)) symbols.push_back(*unknown_);
      last_unknown = true;
    }
  }
  return symbols;
}

// Merges in order of rank, leftmost first among equals, with a queue over a linked list: O(n log n).
std::vector<TokenId> BpeModel::merge(const std::string& piece) const {
  struct Symbol {
    TokenId id;
    std::int32_t previous, next;  // -1: none
    bool alive = true;
  };
  struct Candidate {
    std::int32_t rank, position;
    TokenId left, right, result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const std::vector<TokenId> start = characters(piece);
  std::vector<Symbol> symbols;
  symbols.reserve(start.size());
  const auto count = static_cast<std::int32_t>(start.size());
  for (std::int32_t i = 0; i < count; ++i)
    symbols.push_back({start[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::int32_t position) {
    if (position < 0) return;
    const Symbol& left = symbols[static_cast<std::size_t>(position)];
    if (left.next < 0) return;
    const TokenId right = symbols[static_cast<std::size_t>(left.next)].id;
    if (const auto merge = merges_.find(pair_key(left.id, right)); merge != merges_.end())
      queue.push({merge->second.rank, position, left.id, right, merge->second.result});
  };
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<std::size_t>(best.position)];
    if (!left.alive || left.id != best.left || left.next < 0 ||
        symbols[static_cast<std::size_t>(left.next)].id != best.right)
      continue;  // stale
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    left.id = best.result;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  std::vector<TokenId> ids;
  for (const Symbol& symbol : symbols)
    if (symbol.alive) ids.push_back(symbol.id);
  return ids;
}

void BpeModel::encode(const std::string& piece, std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  if (ignore_merges_)
    if (const auto id = token_id(piece)) {
      ids.push_back(*id);
      return;
    }
  const bool cacheable = piece.size() <= kCachedPieceBytes;
  if (cacheable) {
    const std::lock_guard lock(cache_mutex_);
    if (const auto found = cache_.find(piece); found != cache_.end()) {
      ids.insert(ids.end(), found->second.begin(), found->second.end());
      return;
    }
  }
  const std::vector<TokenId> merged = merge(piece);
  ids.insert(ids.end(), merged.begin(), merged.end());
  if (cacheable) {
    const std::lock_guard lock(cache_mutex_);
    if (cache_.size() < kCachedPieces) cache_.emplace(piece, merged);
  }
}

}  // namespace retort
