// The splitters written by hand give the pieces of the patterns they stand for.
#include "data/tokenizers/splitter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "data/tokenizers/regex.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

constexpr std::string_view kPatterns[] = {kGpt2Pattern, kQwen2Pattern, kQwen3_5Pattern, kLlama3Pattern,
                                          kCl100kPattern};

std::vector<std::string> by_hand(std::string_view pattern, std::string_view text) {
  const Splitter splitter = *Splitter::for_pattern(pattern);
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = splitter.end_of_piece(text, at);
    pieces.emplace_back(text.substr(at, end - at));
    if (end <= at) break;
    at = end;
  }
  return pieces;
}

std::vector<std::string> by_pattern(std::string_view pattern, std::string_view text) {
  const Regex regex(std::string(pattern), "test");
  std::vector<std::string> pieces;
  for (std::size_t at = 0, begin = 0, end = 0; at < text.size() && regex.find(text, at, begin, end); at = end)
    pieces.emplace_back(text.substr(begin, end - begin));
  return pieces;
}

TEST(Splitter, SentencesByHeart) {
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(by_hand(kGpt2Pattern, "I'll go  to x2024  \n\nnow!!"),
            (Pieces{"I", "'ll", " go", " ", " to", " x", "2024", "  \n", "\n", "now", "!!"}));
  EXPECT_EQ(by_hand(kQwen2Pattern, "I'LL go  (to) 2024 \n\nnow!!\n x"),
            (Pieces{"I", "'LL", " go", " ", " (", "to", ")", " ", "2", "0", "2", "4", " \n\n", "now", "!!\n",
                    " x"}));
  EXPECT_EQ(by_hand(kLlama3Pattern, "12345"), (Pieces{"123", "45"}));
  EXPECT_EQ(by_hand(kQwen2Pattern, "x "), (Pieces{"x", " "}));
}

TEST(Splitter, RandomTextsAsThePatternSays) {
  // Characters that both Unicode 16 and the system's matcher know.
  const std::vector<std::string> parts = {
      "a",  "Z",  "é",  "模", "s",  "t",      "ll", "'",  "'S", "'ſ", "'re",    "1",      "٣", "½", " ",
      "  ", "\n", "\r", "\t", "\v", "\u3000", "!",  "。", "_",  "👍",  "\u0301", "\u200b", "ः", "(", "Ⅷ"};
  Random random(7);
  for (int i = 0; i < 4000; ++i) {
    std::string text;
    const auto length = random.below(14);
    for (std::uint64_t j = 0; j < length; ++j) text += parts[random.below(parts.size())];
    for (const std::string_view pattern : kPatterns)
      ASSERT_EQ(by_hand(pattern, text), by_pattern(pattern, text)) << pattern << "\n" << text;
  }
}

TEST(Splitter, LongRunsNeedNoStack) {
  const std::string blanks(1 << 20, ' ');
  for (const std::string_view pattern : kPatterns) EXPECT_EQ(by_hand(pattern, blanks).size(), 1u);
}

TEST(Regex, LongMatchesNeedNoStackEither) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "ab1";
  EXPECT_EQ(by_pattern(R"((?:\p{L}|(?:\p{N}))+)", text).size(), 1u);
}

TEST(Splitter, UnknownPattern) { EXPECT_FALSE(Splitter::for_pattern(R"(\w+)")); }

}  // namespace
}  // namespace retort
