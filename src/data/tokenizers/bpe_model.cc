#include "data/tokenizers/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "base/error.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

// Ids may have gaps, but a small file cannot ask for a huge table.
std::int64_t id_limit(std::size_t entries) {
  return std::min<std::int64_t>(1 << 24, 65536 + 16 * static_cast<std::int64_t>(entries));
}
constexpr std::size_t kFew = 48;  // symbols up to which a scan for the best pair beats a queue

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
    const std::string& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && space > 0 && space + 1 < text.size() &&
        text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  throw Error({.where = where + ": merges",
               .found = merge.dump(-1, ' ', false, Json::error_handler_t::replace),
               .expected = "\"left right\" or [\"left\", \"right\"]",
               .advice = ""});
}

}  // namespace

BpeModel::BpeModel(const Json& json, const std::string& where)
    : fuse_unknown_(json_get_or<bool>(json, "fuse_unk", false, where)),
      ignore_merges_(json_get_or<bool>(json, "ignore_merges", false, where)) {
  refuse_affixes(json, where);
  const auto vocabulary = json.find("vocab");
  if (vocabulary == json.end() || !vocabulary->is_structured() || vocabulary->empty())
    throw Error(
        {.where = where + ": vocab", .found = "none", .expected = "a map of tokens to ids", .advice = ""});
  const auto merges = json.find("merges");
  if (merges == json.end() || !merges->is_array())
    throw Error({.where = where + ": merges",
                 .found = "none",
                 .expected = "a list",
                 .advice = "A BPE vocabulary cannot be used without its merges."});
  read_vocabulary(*vocabulary, where);
  read_merges(*merges, where);
  for (std::size_t c = 0; c < low_characters_.size(); ++c) {
    std::string character;
    append_utf8(character, static_cast<char32_t>(c));
    low_characters_[c] = token_id(character).value_or(-1);
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

void BpeModel::read_vocabulary(const Json& vocabulary, const std::string& where) {
  const std::int64_t limit = id_limit(vocabulary.size());
  for (const auto& [key, item] : vocabulary.items()) {
    const bool listed = vocabulary.is_array();
    if (listed && !(item.is_array() && item.size() == 2 && item[0].is_string()))
      throw Error({.where = where + ": vocab",
                   .found = item.dump(-1, ' ', false, Json::error_handler_t::replace),
                   .expected = "a token and its id",
                   .advice = ""});
    const std::string& token = listed ? item[0].get_ref<const std::string&>() : key;
    const Json& value = listed ? item[1] : item;
    const std::int64_t id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
    if (id < 0 || id >= limit)
      throw Error({.where = where + ": vocab: '" + token + "'",
                   .found = value.dump(-1, ' ', false, Json::error_handler_t::replace),
                   .expected = fmt::format("an id below {}", limit),
                   .advice = ""});
    if (!tokens_.add(static_cast<TokenId>(id), token))
      throw Error(
          {.where = where + ": vocab",
           .found = fmt::format("id {} for '{}' and '{}'", id, tokens()[static_cast<std::size_t>(id)], token),
           .expected = "one token an id",
           .advice = ""});
  }
  tokens_.finish();
}

void BpeModel::read_merges(const Json& merges, const std::string& where) {
  merges_.reserve(merges.size());
  std::int32_t rank = 0;
  for (const Json& item : merges) {
    const auto [left, right] = parse_merge(item, where);
    const auto left_id = token_id(left), right_id = token_id(right), result = token_id(left + right);
    if (!left_id || !right_id || !result)
      throw Error({.where = fmt::format("{}: merge {}", where, rank),
                   .found = "'" + left + "' + '" + right + "'",
                   .expected = "tokens of the vocabulary",
                   .advice = ""});
    merges_.set(*left_id, *right_id, *result, rank++);
  }
}

void BpeModel::append_characters(std::string_view piece, std::vector<TokenId>& symbols) const {
  bool last_unknown = false;
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint point = code_point_at(piece, at);
    const std::string_view character = piece.substr(at, static_cast<std::size_t>(point.length));
    at += character.size();
    const bool was_unknown = std::exchange(last_unknown, false);
    const TokenId id = point.value < low_characters_.size() ? low_characters_[point.value]
                                                            : token_id(character).value_or(-1);
    if (id >= 0) {
      symbols.push_back(id);
    } else if (!byte_tokens_.empty()) {
      for (const char byte : character) symbols.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
    } else if (unknown_) {
      if (!(fuse_unknown_ && was_unknown)) symbols.push_back(*unknown_);
      last_unknown = true;
    }
  }
}

// Merges in order of rank, leftmost first among equals. The ranks of the pairs stand beside their left
// symbols.
void BpeModel::merge_few(std::vector<TokenId>& symbols) const {
  constexpr std::int32_t kNone = INT32_MAX;
  std::int32_t ranks[kFew];
  TokenId results[kFew];
  std::size_t count = symbols.size();
  const auto look_up = [&](std::size_t i) {
    const MergeTable::Merge* merge = i + 1 < count ? merges_.find(symbols[i], symbols[i + 1]) : nullptr;
    ranks[i] = merge != nullptr ? merge->rank : kNone;
    if (merge != nullptr) results[i] = merge->result;
  };
  for (std::size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    const auto best = static_cast<std::size_t>(std::min_element(ranks, ranks + count) - ranks);
    if (ranks[best] == kNone) break;
    symbols[best] = results[best];
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  symbols.resize(count);
}

// The same with a queue over a linked list: O(n log n).
void BpeModel::merge_many(std::vector<TokenId>& symbols) const {
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
  std::vector<Symbol> chain;
  chain.reserve(symbols.size());
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i < count; ++i)
    chain.push_back({symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::int32_t position) {
    if (position < 0) return;
    const Symbol& left = chain[static_cast<std::size_t>(position)];
    if (left.next < 0) return;
    const TokenId right = chain[static_cast<std::size_t>(left.next)].id;
    if (const MergeTable::Merge* merge = merges_.find(left.id, right))
      queue.push({merge->rank, position, left.id, right, merge->result});
  };
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = chain[static_cast<std::size_t>(best.position)];
    if (!left.alive || left.id != best.left || left.next < 0 ||
        chain[static_cast<std::size_t>(left.next)].id != best.right)
      continue;  // stale
    Symbol& right = chain[static_cast<std::size_t>(left.next)];
    left.id = best.result;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) chain[static_cast<std::size_t>(left.next)].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  symbols.clear();
  for (const Symbol& symbol : chain)
    if (symbol.alive) symbols.push_back(symbol.id);
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  if (ignore_merges_)
    if (const auto id = token_id(piece)) {
      ids.push_back(*id);
      return;
    }
  const bool cached = PieceCache::takes(piece);
  if (cached && cache_.append(piece, ids)) return;
  thread_local std::vector<TokenId> symbols;
  symbols.clear();
  append_characters(piece, symbols);
  if (symbols.size() <= kFew)
    merge_few(symbols);
  else
    merge_many(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  if (cached) cache_.keep(piece, symbols.data(), symbols.size());
}

}  // namespace retort
