#include "data/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "data/jinja/text.h"
#include "data/tokenizers/utf8.h"

namespace retort::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string where) : where_(std::move(where)) {
    source_.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {  // all line ends become "\n"
      if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
      source_ += source[i] == '\r' ? '\n' : source[i];
    }
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const std::size_t open = find_open();
      if (open == std::string::npos) {
        add(Token::Kind::data, source_.substr(at_));
        advance_to(source_.size());
        break;
      }
      lex_tag(open);
    }
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    throw Error({.where = fmt::format("{}: line {}", where_, line_),
                 .found = found,
                 .expected = expected,
                 .advice = ""});
  }

  bool looking_at(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }

  void advance_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }

  void add(Token::Kind kind, std::string text, Value value = {}) {
    if (kind == Token::Kind::data && text.empty()) return;
    tokens_.push_back({kind, std::move(text), std::move(value), line_});
  }

  std::size_t find_open() const {
    for (std::size_t open = source_.find('{', at_); open + 1 < source_.size();
         open = source_.find('{', open + 1)) {
      if (open == std::string::npos) break;
      const char next = source_[open + 1];
      if (next == '{' || next == '%' || next == '#') return open;
    }
    return std::string::npos;
  }

  // The text before a tag, less what the tag's sign or lstrip_blocks takes from it.
  void add_data_before(std::size_t open, char kind, char sign) {
    std::string_view text = std::string_view(source_).substr(at_, open - at_);
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && kind != '{') {
      const std::size_t line_start = text.rfind('\n') + 1;  // 0 without a line end
      const bool starts_line = line_start > 0 || line_starting_;
      if (starts_line && strip(text.substr(line_start), nullptr, true, false).empty())
        text = text.substr(0, line_start);
    }
    add(Token::Kind::data, std::string(text));
  }

  void lex_tag(std::size_t open) {
    const char kind = source_[open + 1];
    const char next = open + 2 < source_.size() ? source_[open + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    add_data_before(open, kind, sign);
    advance_to(open + (sign != '\0' ? 3 : 2));
    if (kind == '#')
      skip_comment();
    else if (kind == '%' && !lex_raw())
      lex_inside(Token::Kind::block_begin, Token::Kind::block_end, "%}");
    else if (kind == '{')
      lex_inside(Token::Kind::print_begin, Token::Kind::print_end, "}}");
  }

  // If a tag ends here (its sign included), passes it with the white space that it takes, and says so.
  bool pass_end(std::string_view mark) {
    const bool minus = looking_at("-" + std::string(mark));
    const bool plus = mark != "}}" && looking_at("+" + std::string(mark));
    if (!minus && !plus && !looking_at(mark)) return false;
    std::size_t end = at_ + mark.size() + (minus || plus ? 1 : 0);
    const std::size_t tag_end = end;
    if (minus)
      end = source_.size() - strip(std::string_view(source_).substr(end), nullptr, true, false).size();
    else if (!plus && mark != "}}" && end < source_.size() && source_[end] == '\n')
      ++end;
    line_starting_ = end > tag_end && source_[end - 1] == '\n';
    advance_to(end);
    return true;
  }

  void skip_comment() {
    const std::size_t close = source_.find("#}", at_);
    if (close == std::string::npos) fail("a comment without its end", "'#}'");
    const bool sign = close > at_ && (source_[close - 1] == '-' || source_[close - 1] == '+');
    advance_to(close - (sign ? 1 : 0));
    pass_end("#}");
  }

  void skip_spaces() {
    std::size_t end = at_;
    while (end < source_.size() && (source_[end] == ' ' || (source_[end] >= '\t' && source_[end] <= '\r')))
      ++end;
    advance_to(end);
  }

  // {% raw %} … {% endraw %}: text as it stands. False if this is another block.
  bool lex_raw() {
    const std::size_t begin = at_;
    const int line = line_;
    skip_spaces();
    if (looking_at("raw")) {
      advance_to(at_ + 3);
      skip_spaces();
      const bool minus = looking_at("-%}");
      if (minus || looking_at("%}")) {  // no line end is dropped here
        if (minus)
          pass_end("%}");
        else
          advance_to(at_ + 2);
        for (std::size_t open = source_.find("{%", at_); open != std::string::npos;
             open = source_.find("{%", open + 2)) {
          std::size_t word = open + 2;
          const char sign = word < source_.size() ? source_[word] : '\0';
          if (sign == '-' || sign == '+') ++word;
          word = std::min(source_.find_first_not_of(" \t\n\v\f", word), source_.size());
          if (source_.compare(word, 6, "endraw") != 0) continue;
          add_data_before(open, '%', sign);
          advance_to(word + 6);
          skip_spaces();
          if (!pass_end("%}")) fail("'endraw' and more", "'%}'");
          return true;
        }
        fail("'raw' without 'endraw'", "its end");
      }
    }
    at_ = begin;
    line_ = line;
    return false;
  }

  void lex_inside(Token::Kind begin, Token::Kind end, std::string_view mark) {
    add(begin, std::string(begin == Token::Kind::print_begin ? "{{" : "{%"));
    const int line = line_;
    std::string brackets;  // open ones: a mark inside of them is none
    for (;;) {
      skip_spaces();
      if (at_ >= source_.size()) {
        line_ = line;
        fail("a tag without its end", fmt::format("'{}'", mark));
      }
      if (brackets.empty()) {
        const int end_line = line_;
        if (pass_end(mark)) {
          tokens_.push_back({end, std::string(mark), {}, end_line});
          return;
        }
      }
      lex_one(brackets);
    }
  }

  void lex_one(std::string& brackets) {
    const char c = source_[at_];
    if (begins_name(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
      add(Token::Kind::name, source_.substr(at_, end - at_));
      advance_to(end);
    } else if (is_digit(c)) {
      lex_number();
    } else if (c == '"' || c == '\'') {
      lex_text(c);
    } else {
      lex_sign(brackets);
    }
  }

  void lex_number() {
    std::size_t end = at_;
    bool real = false;
    const auto digits = [&] {
      while (end < source_.size() &&
             (is_digit(source_[end]) ||
              (source_[end] == '_' && end + 1 < source_.size() && is_digit(source_[end + 1]))))
        ++end;
    };
    digits();
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      real = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const std::size_t sign =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
      if (end + 1 + sign < source_.size() && is_digit(source_[end + 1 + sign])) {
        real = true;
        end += 1 + sign;
        digits();
      }
    }
    std::string number = source_.substr(at_, end - at_);
    number.erase(std::remove(number.begin(), number.end(), '_'), number.end());
    Value value;
    if (real) {
      double parsed = 0;
      std::from_chars(number.data(), number.data() + number.size(), parsed);
      value = parsed;
    } else {
      std::int64_t parsed = 0;
      if (std::from_chars(number.data(), number.data() + number.size(), parsed).ec != std::errc())
        fail("the number " + number.substr(0, 40), "one below 2^63");
      value = parsed;
    }
    add(Token::Kind::constant, number, value);
    advance_to(end);
  }

  void lex_text(char quote) {
    std::string text;
    std::size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] == '\\' && at + 1 < source_.size())
        unescape(text, ++at);
      else
        text += source_[at++];
    }
    if (at >= source_.size()) fail("a text without its end", std::string("a ") + quote);
    add(Token::Kind::constant, source_.substr(at_, at + 1 - at_), text);
    advance_to(at + 1);
  }

  // What follows a backslash, as in Python.
  void unescape(std::string& text, std::size_t& at) {
    static constexpr std::string_view kLetters = "ntrabfv0\\'\"", kMeanings("\n\t\r\a\b\f\v\0\\'\"", 11);
    const char c = source_[at++];
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (const std::size_t known = kLetters.find(c); known != std::string_view::npos) {
      text += kMeanings[known];
    } else if (digits > 0) {
      std::uint32_t value = 0;
      const char* begin = source_.data() + at;
      const auto parsed = std::from_chars(begin, begin + std::min(digits, source_.size() - at), value, 16);
      if (parsed.ptr != begin + digits) fail(std::string("the escape \\") + c, "hexadecimal digits");
      append_utf8(text, value);
      at += digits;
    } else if (c != '\n') {  // a line end is dropped, what means nothing is kept
      text += '\\';
      text += c;
    }
  }

  void lex_sign(std::string& brackets) {
    static constexpr std::string_view kPairs[] = {"==", "!=", "<=", ">=", "//", "**"};
    std::string sign(1, source_[at_]);
    for (const std::string_view pair : kPairs)
      if (looking_at(pair)) sign = pair;
    if (sign.size() == 1 && std::string_view("+-*/%~[](){}<>=.:|,").find(sign[0]) == std::string_view::npos)
      fail(fmt::format("'{}'", is_valid_utf8(sign) ? sign : "\\x.."), "an expression");
    if (sign == "(" || sign == "[" || sign == "{") brackets += sign == "(" ? ')' : sign == "[" ? ']' : '}';
    if (sign == ")" || sign == "]" || sign == "}") {
      if (brackets.empty() || brackets.back() != sign[0])
        fail(fmt::format("'{}'", sign), "the bracket that was opened");
      brackets.pop_back();
    }
    add(Token::Kind::sign, sign);
    advance_to(at_ + sign.size());
  }

  std::string source_, where_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // a tag ended with a line end, or nothing came yet
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& where) {
  return Lexer(source, where).run();
}

}  // namespace retort::jinja
