#include "runtime/text_stream.h"

#include <gtest/gtest.h>

#include "data/tokenizers/utf8.h"
#include "unit/data/toy_tokenizer.h"

namespace retort {
namespace {

// A token per byte: every cut that there can be.
std::string stream(const std::string& text, std::vector<std::string> stop,
                   std::vector<std::string>* pieces = nullptr) {
  static const ToyTokenizer tokenizer;
  TextStream stream(tokenizer, std::move(stop));
  std::string result;
  for (const TokenId token : tokenizer.encode(text)) {
    const std::string piece = stream.push(token);
    EXPECT_TRUE(is_valid_utf8(piece)) << piece;
    if (pieces != nullptr && !piece.empty()) pieces->push_back(piece);
    result += piece;
    if (stream.stopped()) return result;
  }
  const std::string rest = stream.finish();
  if (pieces != nullptr && !rest.empty()) pieces->push_back(rest);
  return result + rest;
}

TEST(TextStream, CharactersComeWhole) {
  std::vector<std::string> pieces;
  EXPECT_EQ(stream("a中é🙂", {}, &pieces), "a中é🙂");
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "中", "é", "🙂"}));
}

TEST(TextStream, BrokenBytesAreReplacedAndNeverHeldForever) {
  EXPECT_EQ(stream("a\xE4\xB8", {}), "a\xEF\xBF\xBD");
  EXPECT_EQ(stream("\xFF"
                   "b\xE4"
                   "c",
                   {}),
            "\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c");
}

TEST(TextStream, StopsBeforeAStopString) {
  EXPECT_EQ(stream("one two three", {"two"}), "one ");
  EXPECT_EQ(stream("one two three", {"three", " two"}), "one");
  EXPECT_EQ(stream("aab", {"ab"}), "a");
  EXPECT_EQ(stream("你好。再见", {"再"}), "你好。");
}

TEST(TextStream, HoldsBackWhatMayBecomeAStopString) {
  std::vector<std::string> pieces;
  EXPECT_EQ(stream("x\n\ny\n", {"\n\n\n"}, &pieces), "x\n\ny\n");
  EXPECT_EQ(pieces, (std::vector<std::string>{"x", "\n\ny", "\n"}));
}

TEST(TextStream, SpecialTokensGiveNoText) {
  EXPECT_EQ(stream("a<|im_end|>b<think>", {}), "ab<think>");
  EXPECT_EQ(stream("ab", {""}), "ab");
}

}  // namespace
}  // namespace retort
