#include "runtime/text_stream.h"

#include <algorithm>
#include <string_view>

#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

// Bytes at the end that begin a character and do not end it.
std::size_t open_character(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(text.size(), 3); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

// Bytes at the end that may be the beginning of `stop`.
std::size_t open_stop(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length)
    if (text.ends_with(stop.substr(0, length))) return length;
  return 0;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop)
    : tokenizer_(tokenizer), stop_(std::move(stop)) {
  std::erase(stop_, "");
  for (const AddedToken& token : tokenizer.added_tokens())
    if (token.special) special_.insert(token.id);
}

std::string TextStream::push(TokenId token) {
  if (stopped_ || special_.contains(token)) return "";
  std::string bytes = tokenizer_.token_bytes(token);
  // Tokenizers that put a space before a text's first word take it away when that word is decoded first.
  if (first_ && bytes.starts_with(' ') && !tokenizer_.decode(std::span(&token, 1)).starts_with(' '))
    bytes.erase(0, 1);
  first_ = false;
  held_ += bytes;
  std::size_t earliest = std::string::npos;
  for (const std::string& stop : stop_) earliest = std::min(earliest, held_.find(stop));
  if (earliest != std::string::npos) {
    stopped_ = true;
    std::string text = take(earliest);
    held_.clear();
    return text;
  }
  std::size_t open = open_character(held_);
  for (const std::string& stop : stop_) open = std::max(open, open_stop(held_, stop));
  return take(held_.size() - open);
}

std::string TextStream::finish() { return take(held_.size()); }

std::string TextStream::take(std::size_t bytes) {
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, bytes));
  held_.erase(0, bytes);
  return text;
}

}  // namespace retort
