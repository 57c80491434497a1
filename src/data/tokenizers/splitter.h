// The splitting patterns of GPT-2, cl100k, Llama-3, Qwen2 and their copies, matched by hand: the same pieces
// as the pattern gives, in one pass, without a matcher's limits, and with the code point tables of the
// `tokenizers` library.
#pragma once

#include <optional>
#include <string_view>

namespace retort {

// The patterns cover every text: pieces lie end to end.
class Splitter {
 public:
  // None for a pattern that is not known here.
  static std::optional<Splitter> for_pattern(std::string_view pattern);

  // Where the piece that begins at `at` ends. at < text.size(); `text` must be valid UTF-8.
  std::size_t end_of_piece(std::string_view text, std::size_t at) const;

 private:
  enum class Style { gpt2, cl100k };
  Splitter(Style style, int longest_number, bool marks_join)
      : style_(style), longest_number_(longest_number), marks_join_(marks_join) {}

  bool in_word(char32_t value) const;

  Style style_;
  int longest_number_;  // digits in one piece
  bool marks_join_;     // marks count as letters
};

// ByteLevel's own.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Contractions; letters with one leading symbol; single digits; symbols; line breaks; blanks.
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen3_5Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kCl100kPattern =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";

}  // namespace retort
