#include "data/tokenizers/decoder.h"

#include <charconv>

#include "base/error.h"
#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/replace.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

class ByteLevelDecoder : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      std::string mapped;
      bool all_mapped = true;
      for (std::size_t at = 0; at < token.size() && all_mapped;) {
        const CodePoint point = code_point_at(token, at);
        const int byte = byte_of_character(point.value);
        all_mapped = byte >= 0;
        mapped += static_cast<char>(byte);
        at += static_cast<std::size_t>(point.length);
      }
      bytes += all_mapped ? mapped : token;  // an added token in plain text
    }
    return {replace_invalid_utf8(bytes)};
  }
};

class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(const Json& json, const std::string& where)
      : replacement_(json_get_or<std::string>(json, "replacement", "▁", where)) {
    const bool legacy = json_get_or<bool>(json, "add_prefix_space", true, where);
    prepended_ =
        json_get_or<std::string>(json, "prepend_scheme", legacy ? "always" : "never", where) != "never";
  }
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string text;
      for (std::size_t at = 0; at < tokens[i].size();) {
        if (replacement_.empty() || tokens[i].compare(at, replacement_.size(), replacement_) != 0) {
          text += tokens[i][at++];
          continue;
        }
        if (!(i == 0 && at == 0 && prepended_)) text += ' ';
        at += replacement_.size();
      }
      tokens[i] = std::move(text);
    }
    return tokens;
  }

 private:
  std::string replacement_;
  bool prepended_;
};

class ByteFallback : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::vector<std::string> result;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (is_valid_utf8(bytes))
        result.push_back(bytes);
      else
        for (std::size_t i = 0; i < bytes.size(); ++i) result.emplace_back("\xEF\xBF\xBD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = byte_of_fallback_token(token); byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      result.push_back(std::move(token));
    }
    flush();
    return result;
  }
};

class Fuse : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    return {all};
  }
};

class DecodeStrip : public Decoder {
 public:
  DecodeStrip(const Json& json, const std::string& where)
      : content_(json_get<std::string>(json, "content", where)),
        start_(json_get<std::int64_t>(json, "start", where)),
        stop_(json_get<std::int64_t>(json, "stop", where)) {
    if (content_.empty())
      throw Error(
          {.where = where + ": content", .found = "nothing", .expected = "a character", .advice = ""});
  }
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) {
      for (std::int64_t i = 0; i < start_ && token.rfind(content_, 0) == 0; ++i)
        token.erase(0, content_.size());
      for (std::int64_t i = 0; i < stop_ && token.size() >= content_.size() &&
                               token.compare(token.size() - content_.size(), content_.size(), content_) == 0;
           ++i)
        token.erase(token.size() - content_.size());
    }
    return tokens;
  }

 private:
  std::string content_;
  std::int64_t start_, stop_;
};

class DecodeReplace : public Decoder {
 public:
  DecodeReplace(const Json& json, const std::string& where) : replacer_(json, where) {}
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) token = replacer_.apply(token);
    return tokens;
  }

 private:
  Replacer replacer_;
};

class DecodeSequence : public Decoder {
 public:
  std::vector<std::unique_ptr<Decoder>> parts;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (const auto& part : parts) tokens = part->apply(std::move(tokens));
    return tokens;
  }
};

}  // namespace

int byte_of_fallback_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5 ? byte : -1;
}

std::unique_ptr<Decoder> make_decoder(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  const std::string type = json_get<std::string>(json, "type", where);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Metaspace") return std::make_unique<MetaspaceDecoder>(json, where);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") return std::make_unique<DecodeStrip>(json, where);
  if (type == "Replace") return std::make_unique<DecodeReplace>(json, where);
  if (type == "Sequence") {
    auto sequence = std::make_unique<DecodeSequence>();
    for (const Json& part : json.value("decoders", Json::array()))
      if (auto made = make_decoder(part, where)) sequence->parts.push_back(std::move(made));
    return sequence;
  }
  throw Error({.where = where,
               .found = "decoder '" + type + "'",
               .expected = "one of ByteLevel Metaspace ByteFallback Fuse Strip Replace Sequence",
               .advice = ""});
}

}  // namespace retort
