// Added tokens: found in the text before anything else looks at it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer.h"

namespace retort {

class AddedVocabulary {
 public:
  void add(AddedToken token) { tokens_.push_back(std::move(token)); }
  // Builds the search tables; call once after the last add. `normalize` maps the content of tokens with
  // normalized = true.
  void finish(const std::function<std::string(const std::string&)>& normalize);

  struct Part {
    std::string_view text;
    TokenId id = -1;  // ≥ 0: an added token
  };
  // Cuts at tokens whose `normalized` flag equals the argument: leftmost first, longest among those.
  std::vector<Part> split(std::string_view text, bool normalized) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* find(TokenId id) const;
  const AddedToken* find(std::string_view content) const;

 private:
  struct Entry {
    std::string content;
    std::size_t token;
  };
  std::vector<AddedToken> tokens_;
  // By first byte, longest content first.
  std::vector<Entry> raw_[256], normalized_[256];
  std::unordered_map<TokenId, std::size_t> by_id_;
};

}  // namespace retort
