#include "objective/alignment/text_spans.h"

#include <algorithm>
#include <unordered_map>

namespace retort {
namespace {

constexpr std::string_view kEnd = "\xff<end>";  // no UTF-8

std::string joined(std::span<const std::string_view> pieces) {
  std::string text;
  for (const std::string_view piece : pieces) text += piece;
  return text;
}

}  // namespace

std::optional<std::vector<TextSpan>> common_spans(std::span<const std::string_view> a,
                                                  std::span<const std::string_view> b) {
  const std::string text_a = joined(a), text_b = joined(b);
  const std::size_t skip_a = text_a == " " + text_b, skip_b = text_b == " " + text_a;
  if (a.empty() || b.empty() || text_a.substr(skip_a) != text_b.substr(skip_b)) return std::nullopt;
  std::vector<TextSpan> spans;
  std::size_t i = 0, j = 0, at_a = skip_b, at_b = skip_a;  // bytes read, the missing space counted
  TextSpan open;
  while (i < a.size() || j < b.size()) {
    if (j == b.size() || (i < a.size() && at_a <= at_b))
      at_a += a[i++].size(), ++open.a_count;
    else
      at_b += b[j++].size(), ++open.b_count;
    if (at_a != at_b || open.a_count == 0 || open.b_count == 0) continue;
    spans.push_back(open);
    open = {static_cast<std::int64_t>(i), 0, static_cast<std::int64_t>(j), 0};
  }
  // Tokens of no text at the end.
  spans.back().a_count += open.a_count;
  spans.back().b_count += open.b_count;
  return spans;
}

std::vector<std::string> token_texts(const Tokenizer& tokenizer, std::span<const TokenId> ends) {
  std::vector<std::string> texts;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    texts.push_back(std::find(ends.begin(), ends.end(), id) != ends.end() ? std::string(kEnd)
                                                                          : tokenizer.token_bytes(id));
  return texts;
}

std::vector<std::pair<TokenId, TokenId>> same_texts(const std::vector<std::string>& a,
                                                    const std::vector<std::string>& b) {
  std::unordered_map<std::string_view, TokenId> in_b;
  for (std::size_t id = 0; id < b.size(); ++id)
    if (!b[id].empty()) in_b.emplace(b[id], static_cast<TokenId>(id));
  std::vector<std::pair<TokenId, TokenId>> pairs;
  for (std::size_t id = 0; id < a.size(); ++id) {
    const auto found = in_b.find(a[id]);
    if (found == in_b.end()) continue;
    pairs.emplace_back(static_cast<TokenId>(id), found->second);
    in_b.erase(found);
  }
  return pairs;
}

}  // namespace retort
