#include "data/tokenizers/unicode.h"

#include <gtest/gtest.h>

#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

TEST(Utf8, EveryScalarGoesRound) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    std::string text;
    append_utf8(text, c);
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    const CodePoint point = code_point_at(text, 0);
    ASSERT_EQ(point.value, surrogate ? 0xFFFD : c);
    ASSERT_EQ(static_cast<std::size_t>(point.length), text.size());
    ASSERT_TRUE(is_valid_utf8(text));
  }
}

TEST(Utf8, EachMaximalSubpartBecomesOneReplacement) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(replace_invalid_utf8("a\x80z"), "a" + r + "z");
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\xAF"), r + r + r);          // overlong
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(replace_invalid_utf8("\xE6\xA8x"), r + "x");               // cut short
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x91"), r);                  // cut short by the end
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x91\xF0\x9F\x91\x8D"), r + "\U0001F44D");
  EXPECT_EQ(replace_invalid_utf8("\uFFFD模"), "\uFFFD模");
  EXPECT_FALSE(is_valid_utf8("\xE6\xA8"));
}

TEST(Unicode, CategoriesOfUnicode16) {
  EXPECT_EQ(category('A'), Category::Lu);
  EXPECT_EQ(category(0x20AC), Category::Sc);
  EXPECT_EQ(category(0x10FFFF), Category::Cn);
  EXPECT_TRUE(is_letter(0x31350));  // CJK extension H, Unicode 15
  EXPECT_TRUE(is_letter(0x1C89));   // Unicode 16
  EXPECT_TRUE(is_number(0x11BF0));  // Sunuwar digit zero, Unicode 16
  EXPECT_FALSE(is_number(0x11DE0));
  EXPECT_TRUE(is_numeric(0x11DE0));  // Unicode 17, of which only Digits knows
  EXPECT_TRUE(is_mark(0x301));
  EXPECT_FALSE(is_letter(0x110000));
}

TEST(Unicode, NormalizationLeavesLaterCharactersAlone) {
  EXPECT_EQ(normalize_unicode("e\u0301", UnicodeForm::nfc), "é");
  EXPECT_EQ(normalize_unicode("\u1100\u1161\u11a8", UnicodeForm::nfc), "각");
  EXPECT_EQ(normalize_unicode("각", UnicodeForm::nfd), "\u1100\u1161\u11a8");
  EXPECT_EQ(normalize_unicode("ﬁ①", UnicodeForm::nfkc), "fi1");
  EXPECT_EQ(normalize_unicode("plain 模型 👍", UnicodeForm::nfc), "plain 模型 👍");
  // U+0EBA has combining class 9 since Unicode 12: it would move before U+0EB8 (118).
  EXPECT_EQ(normalize_unicode("\u0e81\u0eb8\u0eba", UnicodeForm::nfc), "\u0e81\u0eb8\u0eba");
  EXPECT_EQ(normalize_unicode("\U00011935\U00011930", UnicodeForm::nfc), "\U00011935\U00011930");
  EXPECT_EQ(normalize_unicode("e\u0301\u0ebae\u0301", UnicodeForm::nfc), "é\u0ebaé");
  EXPECT_EQ(normalize_unicode("e\u0301\xff", UnicodeForm::nfc), "e\u0301\xff");
}

TEST(Unicode, LowerCase) {
  EXPECT_EQ(lowercase("AÉЖΣ\u0130\u1C89ß模"), "aéжσi\u0307\u1C8Aß模");
  EXPECT_EQ(lowercase("ĀāĂ"), "āāă");
}

TEST(ByteCharacters, GoRound) {
  for (int byte = 0; byte < 256; ++byte)
    EXPECT_EQ(byte_of_character(code_point_at(byte_characters()[static_cast<std::size_t>(byte)], 0).value),
              byte);
  EXPECT_EQ(byte_characters()[' '], "Ġ");
  EXPECT_EQ(byte_of_character(0x6A21), -1);
}

}  // namespace
}  // namespace retort
