// Text ↔ token ids, equal to the `tokenizers` library for the files it reads. One implementation per model
// kind under tokenizers/; both programs use the same code.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/token.h"

namespace retort {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false, lstrip = false, rstrip = false, normalized = false, single_word = false;
};

struct EncodeOptions {
  bool add_special_tokens = false;  // what the post-processor adds (BOS …)
  // False: "<|im_end|>" in the text is plain text, as it must be for users' data.
  bool parse_added_tokens = true;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // Bytes of the ids; invalid UTF-8 becomes U+FFFD at the end of decoding only. skip_special drops special
  // added tokens.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special = false) const = 0;
  // The bytes one token stands for (as decode would place them in the middle of a text), for streaming and
  // byte alignment.
  virtual std::string token_bytes(TokenId id) const = 0;

  virtual std::int64_t vocab_size() const = 0;  // largest id + 1, added tokens included
  virtual std::optional<TokenId> token_id(std::string_view token) const = 0;
  virtual std::string token_text(TokenId id) const = 0;  // as in the vocabulary ("Ġthe", "▁the")
  virtual const std::vector<AddedToken>& added_tokens() const = 0;

  // Equal for two tokenizers that map every text to the same ids: a hash of vocabulary, merges, added tokens
  // and rules.
  virtual std::string fingerprint() const = 0;
};

// From a folder: tokenizer.json, else vocab.json + merges.txt (with tokenizer_config.json's added tokens).
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder);
// What open_tokenizer reads, as make_tokenizer takes it: tokenizer.json's content with the vocabulary as a
// list of [token, id].
Json read_tokenizer_json(const std::filesystem::path& folder);
// The same from the text of a tokenizer.json.
Json parse_tokenizer_json(std::string_view text, const std::string& where);
// From the parsed content of a tokenizer.json.
std::unique_ptr<Tokenizer> make_tokenizer(const Json& tokenizer_json, const std::string& where);

}  // namespace retort
