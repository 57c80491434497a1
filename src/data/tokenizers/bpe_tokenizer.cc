// A tokenizer.json as a Tokenizer: added tokens, normalizer, pre-tokenizer, BPE, post-processor, decoder, in
// that order.
#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "data/tokenizer.h"
#include "data/tokenizers/added_vocabulary.h"
#include "data/tokenizers/bpe_model.h"
#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/decoder.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

// What a post-processor puts before and after a single text.
struct SpecialTokens {
  std::vector<TokenId> before, after;
};

TokenId checked_id(std::int64_t id, const std::string& where) {
  if (id < 0 || id >= 1 << 24)
    throw Error(
        {.where = where, .found = std::to_string(id), .expected = "an id below 16,777,216", .advice = ""});
  return static_cast<TokenId>(id);
}

void read_template(const Json& json, const std::string& where, SpecialTokens& special) {
  const Json tokens = json.value("special_tokens", Json::object());
  bool seen_text = false;
  for (const Json& item : json.value("single", Json::array())) {
    if (!item.is_object())
      throw Error({.where = where, .found = item.dump(), .expected = "a map in a template", .advice = ""});
    if (item.contains("Sequence")) {
      seen_text = true;
      continue;
    }
    const std::string name = json_get<std::string>(item.value("SpecialToken", Json::object()), "id", where);
    if (!tokens.contains(name))
      throw Error({.where = where,
                   .found = "special token '" + name + "' in the template only",
                   .expected = "its ids",
                   .advice = ""});
    for (const std::int64_t id : json_get<std::vector<std::int64_t>>(tokens.at(name), "ids", where))
      (seen_text ? special.after : special.before).push_back(checked_id(id, where));
  }
}

SpecialTokens read_post_processor(const Json& json, const std::string& where) {
  SpecialTokens special;
  if (json.is_null()) return special;
  const std::string type = json_get<std::string>(json, "type", where);
  if (type == "TemplateProcessing") {
    read_template(json, where, special);
  } else if (type == "Sequence") {
    for (const Json& part : json.value("processors", Json::array())) {
      const SpecialTokens more = read_post_processor(part, where);
      special.before.insert(special.before.begin(), more.before.begin(), more.before.end());
      special.after.insert(special.after.end(), more.after.begin(), more.after.end());
    }
  } else if (type != "ByteLevel") {  // ByteLevel only moves offsets
    throw Error({.where = where,
                 .found = "post-processor '" + type + "'",
                 .expected = "TemplateProcessing, ByteLevel or Sequence",
                 .advice = ""});
  }
  return special;
}

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(const Json& json, const std::string& where)
      : model_(checked_model(json, where), where + ": model"),
        normalizer_(make_normalizer(json.value("normalizer", Json()), where + ": normalizer")),
        pre_tokenizer_(make_pre_tokenizer(json.value("pre_tokenizer", Json()), where + ": pre_tokenizer")),
        decoder_(make_decoder(json.value("decoder", Json()), where + ": decoder")),
        special_(read_post_processor(json.value("post_processor", Json()), where + ": post_processor")) {
    vocab_size_ = static_cast<std::int64_t>(model_.tokens().size());
    for (const Json& item : json.value("added_tokens", Json::array())) add(item, where + ": added_tokens");
    added_.finish(
        [&](const std::string& content) { return normalizer_ ? normalizer_->apply(content) : content; });
    byte_level_ = json.value("decoder", Json()).dump().find("\"ByteLevel\"") != std::string::npos;
    // The JSON of what decides ids (truncation and padding do not), put together as text: copying a
    // vocabulary takes longer than all the rest.
    std::string identity;
    for (const char* key : {"added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model"}) {
      const auto found = json.find(key);
      identity += (identity.empty() ? "{\"" : ",\"") + std::string(key) + "\":";
      identity += found == json.end() ? "null" : found->dump();
    }
    fingerprint_ = hash_text(identity + "}");
  }

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    const std::string clean = is_valid_utf8(text) ? std::string(text) : replace_invalid_utf8(text);
    std::vector<TokenId> ids;
    if (options.add_special_tokens) ids = special_.before;
    if (options.parse_added_tokens) {
      for (const auto& part : added_.split(clean, /*normalized=*/false)) {
        if (part.id >= 0)
          ids.push_back(part.id);
        else
          encode_normalized(normalized(part.text), part.text.data() == clean.data(), true, ids);
      }
    } else {
      encode_normalized(normalized(clean), true, false, ids);
    }
    if (options.add_special_tokens) ids.insert(ids.end(), special_.after.begin(), special_.after.end());
    return ids;
  }

  std::string decode(std::span<const TokenId> ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    for (const TokenId id : ids) {
      const AddedToken* added = added_.find(id);
      if (skip_special && added != nullptr && added->special) continue;
      if (std::string text = token_text(id); !text.empty()) tokens.push_back(std::move(text));
    }
    std::string result;
    if (decoder_) {
      for (const std::string& part : decoder_->apply(std::move(tokens))) result += part;
      return result;
    }
    for (const std::string& token : tokens) result += (result.empty() ? "" : " ") + token;
    return result;
  }

  std::string token_bytes(TokenId id) const override {
    const std::string text = token_text(id);
    if (added_.find(id) != nullptr) return text;
    std::string bytes;
    if (byte_level_) {
      for (std::size_t at = 0; at < text.size();) {
        const CodePoint point = code_point_at(text, at);
        const int byte = byte_of_character(point.value);
        if (byte >= 0)
          bytes += static_cast<char>(byte);
        else
          bytes.append(text, at, static_cast<std::size_t>(point.length));
        at += static_cast<std::size_t>(point.length);
      }
      return bytes;
    }
    if (const int byte = byte_of_fallback_token(text); byte >= 0)
      return std::string(1, static_cast<char>(byte));
    constexpr std::string_view kSpace = "▁";
    for (std::size_t at = 0; at < text.size();) {
      if (text.compare(at, kSpace.size(), kSpace) == 0)
        bytes += ' ', at += kSpace.size();
      else
        bytes += text[at++];
    }
    return bytes;
  }

  std::int64_t vocab_size() const override { return vocab_size_; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    if (const AddedToken* added = added_.find(token)) return added->id;
    return model_.token_id(token);
  }
  std::string token_text(TokenId id) const override {
    if (const AddedToken* added = added_.find(id)) return added->content;
    return id >= 0 && static_cast<std::size_t>(id) < model_.tokens().size()
               ? model_.tokens()[static_cast<std::size_t>(id)]
               : "";
  }
  const std::vector<AddedToken>& added_tokens() const override { return added_.tokens(); }
  std::string fingerprint() const override { return fingerprint_; }

 private:
  static const Json& checked_model(const Json& json, const std::string& where) {
    if (!json.is_object() || !json.contains("model") || !json["model"].is_object())
      throw Error({.where = where, .found = "no model", .expected = "a tokenizer.json", .advice = ""});
    // Old files leave the type of a BPE model out.
    const std::string type = json_get_or<std::string>(json["model"], "type", "BPE", where);
    if (type != "BPE")
      throw Error(
          {.where = where + ": model", .found = "type '" + type + "'", .expected = "BPE", .advice = ""});
    return json["model"];
  }

  void add(const Json& item, const std::string& where) {
    const std::int64_t id = json_get<std::int64_t>(item, "id", where);
    AddedToken token{checked_id(id, where),
                     json_get<std::string>(item, "content", where),
                     json_get_or<bool>(item, "special", false, where),
                     json_get_or<bool>(item, "lstrip", false, where),
                     json_get_or<bool>(item, "rstrip", false, where),
                     json_get_or<bool>(item, "normalized", false, where),
                     json_get_or<bool>(item, "single_word", false, where)};
    vocab_size_ = std::max(vocab_size_, id + 1);
    added_.add(std::move(token));
  }

  std::string normalized(std::string_view text) const {
    return normalizer_ ? normalizer_->apply(std::string(text)) : std::string(text);
  }

  // `at_start`: the text begins the whole input.
  void encode_normalized(const std::string& text, bool at_start, bool parse_added,
                         std::vector<TokenId>& ids) const {
    if (!parse_added) return encode_plain(text, at_start, ids);
    for (const auto& part : added_.split(text, /*normalized=*/true)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        encode_plain(std::string(part.text), at_start && part.text.data() == text.data(), ids);
    }
  }

  void encode_plain(std::string text, bool at_start, std::vector<TokenId>& ids) const {
    if (text.empty()) return;
    std::vector<TextPiece> pieces = {{std::move(text), at_start}};
    if (pre_tokenizer_) pieces = pre_tokenizer_->split(std::move(pieces));
    for (const TextPiece& piece : pieces) model_.encode(piece.text, ids);
  }

  BpeModel model_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  AddedVocabulary added_;
  SpecialTokens special_;
  std::int64_t vocab_size_ = 0;
  bool byte_level_ = false;
  std::string fingerprint_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const Json& tokenizer_json, const std::string& where) {
  try {
    return std::make_unique<BpeTokenizer>(tokenizer_json, where);
  } catch (const Json::exception& error) {  // a value of another kind than its place wants
    throw Error({.where = where, .found = error.what(), .expected = "a tokenizer.json", .advice = ""});
  }
}

}  // namespace retort
