// Two tokenizations of one text, side by side.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"

namespace retort {

// Tokens between two boundaries that both tokenizations have, and none of them within.
struct TextSpan {
  std::int64_t a_begin = 0, a_count = 0, b_begin = 0, b_count = 0;
  bool operator==(const TextSpan&) const = default;
};

// From the bytes of each token. All tokens of both lie in exactly one span. Nothing when the texts differ (a
// space at the beginning that only one of them has does not count: SentencePiece puts it there).
std::optional<std::vector<TextSpan>> common_spans(std::span<const std::string_view> a,
                                                  std::span<const std::string_view> b);

// The bytes that each id stands for, "" for an id without a token. All of `ends`, which end an answer, stand
// for the same: a text that no other token has.
std::vector<std::string> token_texts(const Tokenizer& tokenizer, std::span<const TokenId> ends);

// (id in a, id in b) of tokens that stand for the same text; of several in one vocabulary, the lowest id.
std::vector<std::pair<TokenId, TokenId>> same_texts(const std::vector<std::string>& a,
                                                    const std::vector<std::string>& b);

}  // namespace retort
