// A GGUF file's metadata as a Hugging Face tokenizer.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/options.h"
#include "data/gguf_tokenizer.h"
#include "data/gguf_tokenizer_keys.h"
#include "data/tokenizers/patterns.h"

namespace retort {
using namespace gguf_tokenizer;
namespace {

// A tokenizer.json out of ggml's arrays.
class Rebuilder {
 public:
  explicit Rebuilder(const GgufFile& file) : file_(file), tokens_(file.texts(kTokens)) {
    types_.assign(tokens_.size(), kNormal);
    if (file.find_value(kTypes) == nullptr) return;
    types_ = file.integers(kTypes);
    if (types_.size() != tokens_.size())
      throw Error({.where = file.where() + ": " + kTypes,
                   .found = fmt::format("{} types", types_.size()),
                   .expected = fmt::format("{}, one for each token", tokens_.size())});
  }

  Json build() {
    if (file_.find_value(kRules) != nullptr) {
      const std::string where = file_.where() + ": " + kRules;
      const auto merges =
          file_.find_value(kMerges) != nullptr ? file_.texts(kMerges) : std::vector<std::string_view>();
      return join_rules(parse_json(file_.text(kRules), where), tokens_, types_, merges);
    }
    Json json = {{"added_tokens", added_tokens()}};
    const std::string model = file_.text(kModel);
    if (model == "gpt2")
      build_byte_level(json);
    else if (model == "llama")
      build_metaspace(json);
    else
      throw Error({.where = file_.where() + ": " + kModel,
                   .found = "'" + model + "'",
                   .expected = "gpt2 (byte-level BPE) or llama (BPE with byte fallback)",
                   .advice = ""});
    if (flag_or("add_bos_token", adds_bos_)) add_frame(json);
    return json;
  }

 private:
  bool flag_or(const char* name, bool fallback) const {
    const std::string key = std::string("tokenizer.ggml.") + name;
    return file_.find_value(key) != nullptr ? file_.flag(key) : fallback;
  }

  // The unknown token is found in text like the control tokens, and is in the vocabulary too.
  Json added_tokens() const {
    Json list = Json::array();
    for (std::size_t id = 0; id < tokens_.size(); ++id)
      if (types_[id] == kControl || types_[id] == kUserDefined || types_[id] == kUnknown)
        list.push_back({{"id", id},
                        {"content", tokens_[id]},
                        {"special", types_[id] != kUserDefined},
                        {"single_word", false},
                        {"lstrip", false},
                        {"rstrip", false},
                        {"normalized", false}});
    return list;
  }

  // Added tokens between others belong to it: the `tokenizers` library numbers those that do not from the
  // vocabulary's end.
  Json vocabulary() const {
    std::size_t last = tokens_.size();
    while (last > 0 &&
           (types_[last - 1] == kControl || types_[last - 1] == kUserDefined || types_[last - 1] == kUnused))
      --last;
    Json list = Json::array();
    for (std::size_t id = 0; id < tokens_.size(); ++id)
      if (id < last && types_[id] != kUnused) list.push_back(Json::array({tokens_[id], id}));
    return list;
  }

  void build_byte_level(Json& json) {
    const std::string label = file_.find_value(kPre) != nullptr ? file_.text(kPre) : "gpt-2";
    const auto row = std::find_if(kSplitters.begin(), kSplitters.end(),
                                  [&](const SplitterLabel& s) { return s.label == label; });
    if (row == kSplitters.end()) {
      std::vector<std::string> labels;
      for (const SplitterLabel& splitter : kSplitters) labels.emplace_back(splitter.label);
      throw Error({.where = file_.where() + ": " + kPre,
                   .found = "'" + label + "'",
                   .expected = "the label of a splitter that Retort knows",
                   .advice = suggest(label, labels)});
    }
    adds_bos_ = row->adds_bos;
    if (row->nfc) json["normalizer"] = {{"type", "NFC"}};
    json["pre_tokenizer"] = row->pattern.empty() ? Json{{"type", "ByteLevel"},
                                                        {"add_prefix_space", false},
                                                        {"trim_offsets", false},
                                                        {"use_regex", true}}
                                                 : split_then_byte_level(row->pattern);
    json["decoder"] = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
    Json merges = Json::array();
    for (const std::string_view merge : file_.texts(kMerges)) merges.push_back(merge);
    json["model"] = {{"type", "BPE"},
                     {"vocab", vocabulary()},
                     {"merges", std::move(merges)},
                     {"ignore_merges", row->ignore_merges}};
  }

  void build_metaspace(Json& json) {
    adds_bos_ = true;
    const bool prefix = flag_or("add_space_prefix", true);
    Json steps = Json::array();
    if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}});
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
    Json decoders = Json::array({{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                                 {{"type", "ByteFallback"}},
                                 {{"type", "Fuse"}}});
    if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    json["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    json["model"] = {{"type", "BPE"},
                     {"vocab", vocabulary()},
                     {"merges", merges_of_scores()},
                     {"byte_fallback", true},
                     {"fuse_unk", true}};
    for (std::size_t id = 0; id < tokens_.size(); ++id)
      if (types_[id] == kUnknown) json["model"]["unk_token"] = tokens_[id];
  }

  // Every pair of tokens that make a token, the best score first: the merges that a SentencePiece vocabulary
  // implies.
  Json merges_of_scores() const {
    const std::vector<double> scores = file_.numbers(kScores);
    if (scores.size() != tokens_.size())
      throw Error({.where = file_.where() + ": " + kScores,
                   .found = fmt::format("{} scores", scores.size()),
                   .expected = fmt::format("{}, one for each token", tokens_.size())});
    std::unordered_map<std::string_view, std::size_t> ids;
    for (std::size_t id = 0; id < tokens_.size(); ++id)
      if (types_[id] == kNormal) ids.emplace(tokens_[id], id);
    constexpr std::size_t kMaxToken = 256;  // bytes; longer ones would make this quadratic
    struct Merge {
      double score;
      std::size_t left, right;
    };
    std::vector<Merge> merges;
    for (const auto& [text, id] : ids) {
      if (text.size() > kMaxToken) continue;
      for (std::size_t cut = 1; cut < text.size(); ++cut) {
        const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
        if (left != ids.end() && right != ids.end())
          merges.push_back({scores[id], left->second, right->second});
      }
    }
    std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
      return std::tuple(-a.score, a.left, a.right) < std::tuple(-b.score, b.left, b.right);
    });
    Json list = Json::array();
    for (const Merge& merge : merges)
      list.push_back(Json::array({tokens_[merge.left], tokens_[merge.right]}));
    return list;
  }

  void add_frame(Json& json) const {
    const std::int64_t id = file_.integer("tokenizer.ggml.bos_token_id");
    if (id < 0 || static_cast<std::size_t>(id) >= tokens_.size())
      throw Error({.where = file_.where() + ": tokenizer.ggml.bos_token_id",
                   .found = fmt::format("{}", id),
                   .expected = fmt::format("an id below {}", tokens_.size())});
    const std::string bos(tokens_[static_cast<std::size_t>(id)]);
    const auto token = [&](int part) { return Json{{"SpecialToken", {{"id", bos}, {"type_id", part}}}}; };
    const auto text = [](const char* name, int part) {
      return Json{{"Sequence", {{"id", name}, {"type_id", part}}}};
    };
    json["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", Json::array({token(0), text("A", 0)})},
        {"pair", Json::array({token(0), text("A", 0), token(1), text("B", 1)})},
        {"special_tokens",
         {{bos, {{"id", bos}, {"ids", Json::array({id})}, {"tokens", Json::array({bos})}}}}}};
  }

  const GgufFile& file_;
  std::vector<std::string_view> tokens_;
  std::vector<std::int64_t> types_;
  bool adds_bos_ = false;
};

// The text of a token named by its id, for files without a tokenizer_config.
void add_named(Json& special, const GgufFile& file, const char* name, const char* id_key) {
  const std::string key = std::string("tokenizer.ggml.") + id_key;
  if (file.find_value(key) == nullptr || file.find_value(kTokens) == nullptr) return;
  const auto tokens = file.texts(kTokens);
  const std::int64_t id = file.integer(key);
  if (id >= 0 && static_cast<std::size_t>(id) < tokens.size())
    special[name] = tokens[static_cast<std::size_t>(id)];
}

bool has_tokenizer(const GgufFile& file) {
  return file.find_value(kWhole) != nullptr ||
         (file.find_value(kModel) != nullptr && file.text(kModel) != "none");
}

Json read_tokenizer(const GgufFile& file) {
  if (file.find_value(kWhole) != nullptr)
    return parse_tokenizer_json(file.text(kWhole), file.where() + ": " + kWhole);
  return Rebuilder(file).build();
}

std::string text_or_empty(const GgufFile& file, const char* key) {
  return file.find_value(key) != nullptr ? file.text(key) : "";
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_of_gguf(const GgufFile& file) {
  return has_tokenizer(file) ? make_tokenizer(read_tokenizer(file), file.where()) : nullptr;
}

std::unique_ptr<ChatTemplate> chat_template_of_gguf(const GgufFile& file) {
  if (file.find_value(kTemplate) == nullptr) return nullptr;
  Json special = Json::object();
  if (file.find_value(kConfig) != nullptr) {
    special = special_tokens(file.text(kConfig), file.where() + ": " + kConfig);
  } else {
    add_named(special, file, "bos_token", "bos_token_id");
    add_named(special, file, "eos_token", "eos_token_id");
    add_named(special, file, "pad_token", "padding_token_id");
    add_named(special, file, "unk_token", "unknown_token_id");
  }
  return std::make_unique<ChatTemplate>(file.text(kTemplate), special, file.where() + ": " + kTemplate);
}

TokenizerFiles tokenizer_files(const GgufFile& file) {
  TokenizerFiles files;
  if (file.find_value(kWhole) != nullptr)
    files.tokenizer = file.text(kWhole);
  else if (has_tokenizer(file))
    files.tokenizer = tokenizer_text(read_tokenizer(file));
  files.config = text_or_empty(file, kConfig);
  files.chat_template = text_or_empty(file, kTemplate);
  files.generation_config = text_or_empty(file, kGeneration);
  return files;
}

}  // namespace retort
