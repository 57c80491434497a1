#include "objective/alignment/text_spans.h"

#include <gtest/gtest.h>

namespace retort {
namespace {

using Pieces = std::vector<std::string_view>;
using Spans = std::vector<TextSpan>;

TEST(CommonSpans, EndWhereBothHaveABoundary) {
  EXPECT_EQ(*common_spans(Pieces{"ab", "c", "de", "f"}, Pieces{"a", "bc", "d", "ef"}),
            (Spans{{0, 2, 0, 2}, {2, 2, 2, 2}}));
  EXPECT_EQ(*common_spans(Pieces{"a", "b", "c"}, Pieces{"a", "bc"}), (Spans{{0, 1, 0, 1}, {1, 2, 1, 1}}));
  EXPECT_EQ(*common_spans(Pieces{"\xe5\xad", "\xa6"}, Pieces{"\xe5", "\xad\xa6"}), (Spans{{0, 2, 0, 2}}));
}

TEST(CommonSpans, AreSingleTokensForOneTokenizer) {
  EXPECT_EQ(*common_spans(Pieces{"a", "bc"}, Pieces{"a", "bc"}), (Spans{{0, 1, 0, 1}, {1, 1, 1, 1}}));
}

TEST(CommonSpans, TokensWithoutTextBelongToANeighbour) {
  EXPECT_EQ(*common_spans(Pieces{"", "a", "b", ""}, Pieces{"a", "b"}), (Spans{{0, 2, 0, 1}, {2, 2, 1, 1}}));
}

TEST(CommonSpans, ALeadingSpaceOfOneSideDoesNotCount) {
  EXPECT_EQ(*common_spans(Pieces{" the", " cat"}, Pieces{"the", " c", "at"}),
            (Spans{{0, 1, 0, 1}, {1, 1, 1, 2}}));
}

TEST(CommonSpans, OtherTextsHaveNone) {
  EXPECT_FALSE(common_spans(Pieces{"ab"}, Pieces{"a"}));
  EXPECT_FALSE(common_spans(Pieces{"ab"}, Pieces{"ac"}));
  EXPECT_FALSE(common_spans(Pieces{}, Pieces{}));
  EXPECT_FALSE(common_spans(Pieces{"  a"}, Pieces{"a"}));
}

TEST(SameTexts, PairsEachTextOnce) {
  using Pairs = std::vector<std::pair<TokenId, TokenId>>;
  EXPECT_EQ(same_texts({"a", "", "b", "a", "c"}, {"", "c", "a", "c"}), (Pairs{{0, 2}, {4, 1}}));
}

}  // namespace
}  // namespace retort
