// A tokenizer small enough to know by heart: one token per byte, added tokens from 256 on.
#pragma once

#include "data/tokenizer.h"

namespace retort {

class ToyTokenizer : public Tokenizer {
 public:
  explicit ToyTokenizer(std::vector<std::string> special = {"<|im_start|>", "<|im_end|>", "<|endoftext|>"},
                        std::vector<std::string> plain = {"<think>", "</think>"}) {
    for (const std::string& content : special) add(content, true);
    for (const std::string& content : plain) add(content, false);
  }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      const AddedToken* found = nullptr;
      if (options.parse_added_tokens)
        for (const AddedToken& token : added_)
          if (text.starts_with(token.content)) found = &token;
      ids.push_back(found != nullptr ? found->id : static_cast<unsigned char>(text[0]));
      text.remove_prefix(found != nullptr ? found->content.size() : 1);
    }
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const override {
    std::string text;
    for (const TokenId id : ids)
      if (!skip_special || id < 256 || !added_[static_cast<std::size_t>(id - 256)].special)
        text += token_bytes(id);
    return text;
  }
  std::string token_bytes(TokenId id) const override {
    return id < 256 ? std::string(1, static_cast<char>(id))
                    : added_.at(static_cast<std::size_t>(id - 256)).content;
  }
  std::int64_t vocab_size() const override { return 256 + static_cast<std::int64_t>(added_.size()); }
  std::optional<TokenId> token_id(std::string_view token) const override {
    for (const AddedToken& added : added_)
      if (added.content == token) return added.id;
    return token.size() == 1 ? std::optional<TokenId>(static_cast<unsigned char>(token[0])) : std::nullopt;
  }
  std::string token_text(TokenId id) const override { return token_bytes(id); }
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::string fingerprint() const override { return "toy"; }

 private:
  void add(const std::string& content, bool special) {
    added_.push_back(
        {.id = static_cast<TokenId>(256 + added_.size()), .content = content, .special = special});
  }
  std::vector<AddedToken> added_;
};

}  // namespace retort
