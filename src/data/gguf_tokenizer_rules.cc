#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/gguf_tokenizer_keys.h"

namespace retort::gguf_tokenizer {
namespace {

constexpr const char* kExtra = "retort_vocab";
constexpr const char* kPairs = "retort_merge_pairs";

bool in_vocabulary(std::int64_t type) { return type == kNormal || type == kByte || type == kUnknown; }

}  // namespace

Json split_rules(const Json& tokenizer_json, std::span<const std::int64_t> types) {
  Json rules = Json::object();
  for (const auto& [key, value] : tokenizer_json.items())
    if (key != "model") rules[key] = value;
  Json& model = rules["model"] = Json::object();
  const Json& whole = tokenizer_json.at("model");
  for (const auto& [key, value] : whole.items())
    if (key != "vocab" && key != "merges") model[key] = value;
  model[kExtra] = Json::array();
  for (const Json& entry : whole.at("vocab"))
    if (const auto id = entry.at(1).get<std::size_t>(); id >= types.size() || !in_vocabulary(types[id]))
      model[kExtra].push_back(entry);
  const Json& merges = whole.at("merges");
  model[kPairs] = !merges.empty() && merges.front().is_array();
  return rules;
}

Json join_rules(Json rules, std::span<const std::string_view> tokens, std::span<const std::int64_t> types,
                std::span<const std::string_view> merges) {
  if (!rules.is_object() || !rules.contains("model") || !rules["model"].is_object()) return rules;
  Json& model = rules["model"];
  std::vector<std::pair<std::string, std::int64_t>> entries;
  for (std::size_t id = 0; id < tokens.size(); ++id)
    if (in_vocabulary(types[id])) entries.emplace_back(tokens[id], static_cast<std::int64_t>(id));
  const Json extra = model.value(kExtra, Json::array());
  for (const Json& entry : extra)
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number_integer())
      entries.emplace_back(entry[0].get<std::string>(), entry[1].get<std::int64_t>());
  std::sort(entries.begin(), entries.end());  // as the keys of a parsed tokenizer.json
  const bool pairs = model.value(kPairs, Json(false)) == Json(true);
  model.erase(kExtra);
  model.erase(kPairs);
  Json list = Json::array();
  for (const std::string_view merge : merges) {
    const std::size_t space = merge.find(' ');
    if (pairs && space != std::string_view::npos)
      list.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
    else
      list.push_back(merge);
  }
  model["merges"] = std::move(list);
  Json vocabulary = Json::array();
  for (auto& [token, id] : entries) vocabulary.push_back(Json::array({std::move(token), id}));
  model["vocab"] = std::move(vocabulary);
  std::map<std::string, Json> sorted;  // as parse_tokenizer_json leaves them
  for (auto& [key, value] : model.items()) sorted.emplace(key, std::move(value));
  model = Json::object();
  for (auto& [key, value] : sorted) model[key] = std::move(value);
  return rules;
}

Json special_tokens(std::string_view tokenizer_config, const std::string& where) {
  const Json config = parse_object(tokenizer_config, where);
  Json special = Json::object();
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    const Json value = config.value(key, Json());
    if (value.is_string()) special[key] = value;
    if (value.is_object()) special[key] = json_get_or<std::string>(value, "content", "", where + ": " + key);
  }
  return special;
}

std::string tokenizer_text(const Json& tokenizer_json) {
  nlohmann::json whole = tokenizer_json;
  nlohmann::json vocabulary = nlohmann::json::object();
  for (const Json& entry : tokenizer_json.at("model").at("vocab")) {
    if (!entry.at(1).is_number_integer())
      throw Error({.where = "vocabulary: '" + entry.at(0).get<std::string>() + "'",
                   .found = entry.at(1).dump(),
                   .expected = "an id"});
    vocabulary[entry.at(0).get<std::string>()] = entry.at(1).get<std::int64_t>();
  }
  whole["model"]["vocab"] = std::move(vocabulary);
  return whole.dump(1) + "\n";
}

std::string merge_text(const Json& merge) {
  return merge.is_array() ? merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>()
                          : merge.get<std::string>();
}

}  // namespace retort::gguf_tokenizer
