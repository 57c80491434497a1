#include "data/tokenizers/added_vocabulary.h"

#include <algorithm>

#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

char32_t code_point_before(std::string_view text, std::size_t at) {
  std::size_t begin = at - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return code_point_at(text, begin).value;
}

std::size_t spaces_before(std::string_view text, std::size_t at, std::size_t limit) {
  while (at > limit) {
    std::size_t begin = at - 1;
    while (begin > limit && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_white_space(code_point_at(text, begin).value)) break;
    at = begin;
  }
  return at;
}

std::size_t spaces_after(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const CodePoint point = code_point_at(text, at);
    if (!is_white_space(point.value)) break;
    at += static_cast<std::size_t>(point.length);
  }
  return at;
}

}  // namespace

void AddedVocabulary::finish(const std::function<std::string(const std::string&)>& normalize) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    by_id_[token.id] = i;
    const std::string content = token.normalized ? normalize(token.content) : token.content;
    if (content.empty()) continue;
    (token.normalized ? normalized_ : raw_)[static_cast<unsigned char>(content[0])].push_back({content, i});
  }
  for (auto* table : {raw_, normalized_})
    for (int byte = 0; byte < 256; ++byte)
      std::stable_sort(table[byte].begin(), table[byte].end(),
                       [](const Entry& a, const Entry& b) { return a.content.size() > b.content.size(); });
}

std::vector<AddedVocabulary::Part> AddedVocabulary::split(std::string_view text, bool normalized) const {
  const auto& table = normalized ? normalized_ : raw_;
  std::vector<Part> parts;
  std::size_t plain = 0;  // start of the text not yet handed out
  for (std::size_t at = 0; at < text.size();) {
    const Entry* hit = nullptr;
    for (const Entry& entry : table[static_cast<unsigned char>(text[at])])
      if (text.compare(at, entry.content.size(), entry.content) == 0) {
        hit = &entry;
        break;
      }
    if (hit == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[hit->token];
    std::size_t begin = at, end = at + hit->content.size();
    at = end;
    if (token.single_word && ((begin > 0 && is_word_character(code_point_before(text, begin))) ||
                              (end < text.size() && is_word_character(code_point_at(text, end).value))))
      continue;
    if (token.lstrip) begin = spaces_before(text, begin, plain);
    if (token.rstrip) at = end = spaces_after(text, end);
    if (begin > plain) parts.push_back({text.substr(plain, begin - plain), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    plain = end;
  }
  if (plain < text.size()) parts.push_back({text.substr(plain), -1});
  return parts;
}

const AddedToken* AddedVocabulary::find(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedVocabulary::find(std::string_view content) const {
  for (const AddedToken& token : tokens_)
    if (token.content == content) return &token;
  return nullptr;
}

}  // namespace retort
