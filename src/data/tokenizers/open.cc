// A tokenizer's folder: tokenizer.json, or the older vocab.json + merges.txt, which say less and are
// completed by class.
#include <algorithm>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer.h"
#include "data/tokenizers/patterns.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

Json as_list(const nlohmann::json& vocabulary, const std::string& where) {
  if (!vocabulary.is_object())
    throw Error({.where = where,
                 .found = vocabulary.type_name(),
                 .expected = "a map of tokens to ids",
                 .advice = ""});
  Json list = Json::array();
  for (const auto& [token, id] : vocabulary.items())
    list.push_back(
        Json::array({token, id.is_number_integer() ? Json(id.get<std::int64_t>()) : Json(id.dump())}));
  return list;
}

Json read_merges(const fs::path& path) {
  Json merges = Json::array();
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.rfind("#version", 0) == 0) continue;
    merges.push_back(line);
  }
  return merges;
}

// GPT-2's splitter is ByteLevel's own; Qwen2's is a pattern of its own over NFC text.
void set_rules(Json& tokenizer, const std::string& tokenizer_class) {
  tokenizer["decoder"] = {{"type", "ByteLevel"}};
  if (tokenizer_class.rfind("Qwen2", 0) == 0) {
    tokenizer["normalizer"] = {{"type", "NFC"}};
    tokenizer["pre_tokenizer"] = split_then_byte_level(kQwen2Pattern);
  } else {
    tokenizer["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  }
}

Json added_tokens(const Json& config, const std::string& where) {
  Json list = Json::array();
  const Json decoder_tokens = config.value("added_tokens_decoder", Json::object());
  const auto require_object = [&](const Json& value, const std::string& key) {
    if (!value.is_object() && !value.is_null())
      throw Error({.where = where + ": " + key, .found = value.dump(), .expected = "keys with values"});
  };
  require_object(decoder_tokens, "added_tokens_decoder");
  for (const auto& [id, token] : decoder_tokens.items()) {
    if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != std::string::npos)
      throw Error({.where = where + ": added_tokens_decoder",
                   .found = "'" + id + "'",
                   .expected = "an id",
                   .advice = ""});
    require_object(token, "added_tokens_decoder: " + id);
    Json item = token;
    item["id"] = std::stoll(id);
    list.push_back(item);
  }
  return list;
}

// Classes know their end token though no file lists it: an entry of the vocabulary that is found in text as a
// whole.
void add_named_tokens(Json& added, const Json& config, const nlohmann::json& vocabulary) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    const Json named = config.value(key, Json(std::string(key) == "pad_token" ? "" : "<|endoftext|>"));
    const Json content = named.is_object() ? named.value("content", Json()) : named;
    if (!content.is_string() || !vocabulary.is_object()) continue;
    const auto entry = vocabulary.find(content.get<std::string>());
    const bool listed = std::any_of(added.begin(), added.end(), [&](const Json& token) {
      return token.value("content", Json()) == content;
    });
    if (entry != vocabulary.end() && entry->is_number_integer() && !listed)
      added.push_back({{"id", entry->get<std::int64_t>()}, {"content", content}, {"special", true}});
  }
}

}  // namespace

// The vocabulary is handed on as a list of [token, id].
Json parse_tokenizer_json(std::string_view text, const std::string& where) {
  nlohmann::json parsed = parse_sorted_json(text, where);
  nlohmann::json vocabulary;
  if (parsed.is_object() && parsed.contains("model") && parsed["model"].is_object() &&
      parsed["model"].contains("vocab"))
    vocabulary = std::exchange(parsed["model"]["vocab"], nullptr);
  Json rest = Json::parse(parsed.dump());
  if (vocabulary.is_object()) rest["model"]["vocab"] = as_list(vocabulary, where);
  return rest;
}

Json read_tokenizer_json(const fs::path& folder) {
  if (const fs::path whole = folder / "tokenizer.json"; fs::exists(whole))
    return parse_tokenizer_json(read_file(whole), whole.string());
  const fs::path vocabulary = folder / "vocab.json", merges = folder / "merges.txt",
                 config_path = folder / "tokenizer_config.json";
  if (!fs::exists(vocabulary))
    throw Error({.where = folder.string(),
                 .found = "no tokenizer",
                 .expected = "tokenizer.json, or vocab.json with merges.txt",
                 .advice = ""});
  if (!fs::exists(merges))
    throw Error({.where = merges.string(),
                 .found = "no such file",
                 .expected = "the merges that belong to vocab.json",
                 .advice = ""});
  const Json config =
      fs::exists(config_path) ? parse_object(read_file(config_path), config_path.string()) : Json::object();
  const nlohmann::json entries = parse_sorted_json(read_file(vocabulary), vocabulary.string());
  Json tokenizer = {{"model", {{"type", "BPE"}, {"merges", read_merges(merges)}}}};
  set_rules(tokenizer,
            json_get_or<std::string>(config, "tokenizer_class", "GPT2Tokenizer", config_path.string()));
  tokenizer["added_tokens"] = added_tokens(config, config_path.string());
  add_named_tokens(tokenizer["added_tokens"], config, entries);
  // Keys sorted as those of a tokenizer.json are: both give one fingerprint.
  tokenizer = Json::parse(nlohmann::json(tokenizer).dump());
  tokenizer["model"]["vocab"] = as_list(entries, vocabulary.string());
  return tokenizer;
}

std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& folder) {
  const fs::path whole = folder / "tokenizer.json";
  return make_tokenizer(read_tokenizer_json(folder), (fs::exists(whole) ? whole : folder).string());
}

}  // namespace retort
