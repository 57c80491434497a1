// A Hugging Face tokenizer as a GGUF file's metadata.
#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "data/gguf_tokenizer.h"
#include "data/gguf_tokenizer_keys.h"
#include "data/tokenizers/decoder.h"

namespace retort {
namespace fs = std::filesystem;
using namespace gguf_tokenizer;
namespace {

// The row whose rules a tokenizer.json's pre_tokenizer follows; null when none does.
const SplitterLabel* find_splitter(const Json& pre_tokenizer) {
  const Json* byte_level = &pre_tokenizer;
  std::string pattern;
  if (pre_tokenizer.is_object() && pre_tokenizer.value("type", "") == "Sequence") {
    const Json parts = pre_tokenizer.value("pretokenizers", Json::array());
    if (parts.size() != 2 || parts[0].value("type", "") != "Split") return nullptr;
    pattern = parts[0].value("pattern", Json::object()).value("Regex", "");
    if (pattern.empty() || parts[1].value("use_regex", true)) return nullptr;
    for (const SplitterLabel& row : kSplitters)
      if (row.pattern == pattern) return &row;
    return nullptr;
  }
  if (!byte_level->is_object() || byte_level->value("type", "") != "ByteLevel") return nullptr;
  if (byte_level->value("add_prefix_space", true) || !byte_level->value("use_regex", true)) return nullptr;
  return &kSplitters[0];
}

bool contains_type(const Json& json, const std::string& type) {
  return json.dump().find("\"" + type + "\"") != std::string::npos;
}

class Writer {
 public:
  Writer(GgufMetadata& metadata, const TokenizerFiles& files, std::int64_t vocab_size)
      : metadata_(metadata),
        files_(files),
        json_(parse_tokenizer_json(files.tokenizer, "tokenizer.json")),
        tokenizer_(make_tokenizer(json_, "tokenizer.json")) {
    tokens_.resize(static_cast<std::size_t>(vocab_size));
    types_.assign(tokens_.size(), kUnused);
  }

  std::string write() {
    collect();
    const bool byte_level = contains_type(json_.value("decoder", Json()), "ByteLevel");
    const bool byte_fallback = json_get_or<bool>(json_["model"], "byte_fallback", false, "tokenizer.json");
    std::string caveat;
    if (byte_level)
      caveat = write_byte_level();
    else if (byte_fallback)
      write_metaspace();
    else {
      metadata_.set_text(kModel, "none");
      caveat = "llama.cpp has no tokenizer of this kind";
    }
    for (const Json& merge : json_["model"]["merges"]) merges_.push_back(merge_text(merge));
    metadata_.set_texts(kTokens, tokens_);
    metadata_.set_texts(kMerges, merges_);
    metadata_.set_i32s(kTypes, types_);
    write_ids();
    write_rules();
    return caveat;
  }

 private:
  void collect() {
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      tokens_[id] = tokenizer_->token_text(static_cast<TokenId>(id));
      if (tokens_[id].empty())
        tokens_[id] = fmt::format("[PAD{}]", id);
      else
        types_[id] = byte_of_fallback_token(tokens_[id]) >= 0 ? kByte : kNormal;
    }
    for (const AddedToken& added : tokenizer_->added_tokens())
      if (static_cast<std::size_t>(added.id) < types_.size())
        types_[static_cast<std::size_t>(added.id)] = added.special ? kControl : kUserDefined;
  }

  std::string write_byte_level() {
    metadata_.set_text(kModel, "gpt2");
    const SplitterLabel* splitter = find_splitter(json_.value("pre_tokenizer", Json()));
    metadata_.set_text(kPre, splitter != nullptr ? splitter->label : "default");
    return splitter != nullptr
               ? ""
               : "llama.cpp has no label for this tokenizer's splitter: it will cut texts differently";
  }

  // llama.cpp merges the pair whose result has the highest score: the rank of the merge, negated.
  void write_metaspace() {
    metadata_.set_text(kModel, "llama");
    metadata_.set_text(kPre, "default");
    std::vector<float> scores(tokens_.size(), 0.0f);
    float rank = 0;
    for (const Json& merge : json_["model"]["merges"]) {
      std::string text = merge_text(merge);
      text.erase(text.find(' '), 1);
      const auto id = tokenizer_->token_id(text);
      if (id && static_cast<std::size_t>(*id) < scores.size() && scores[static_cast<std::size_t>(*id)] == 0)
        scores[static_cast<std::size_t>(*id)] = -++rank;
    }
    metadata_.set_f32s(kScores, scores);
    const Json normalizer = json_.value("normalizer", Json()),
               pre_tokenizer = json_.value("pre_tokenizer", Json());
    const bool prefix =
        contains_type(normalizer, "Prepend") || (contains_type(pre_tokenizer, "Metaspace") &&
                                                 pre_tokenizer.value("prepend_scheme", "always") != "never");
    metadata_.set_flag("tokenizer.ggml.add_space_prefix", prefix);
    if (const Json unknown = json_["model"].value("unk_token", Json()); unknown.is_string())
      if (const auto id = tokenizer_->token_id(unknown.get<std::string>());
          id && static_cast<std::size_t>(*id) < types_.size())
        types_[static_cast<std::size_t>(*id)] = kUnknown;
  }

  void set_id(const char* key, std::optional<TokenId> id) {
    const std::string name = std::string("tokenizer.ggml.") + key;
    if (id && static_cast<std::size_t>(*id) < tokens_.size() && !metadata_.has(name))
      metadata_.set_u32(name, *id);
  }

  // Those that the model's config does not say.
  void write_ids() {
    const std::vector<TokenId> frame = tokenizer_->encode("", {.add_special_tokens = true});
    const Json special =
        special_tokens(files_.config.empty() ? "{}" : files_.config, "tokenizer_config.json");
    const auto named = [&](const char* key) -> std::optional<TokenId> {
      return special.contains(key) ? tokenizer_->token_id(special[key].get<std::string>()) : std::nullopt;
    };
    const auto bos = named("bos_token"), eos = named("eos_token");
    const bool adds_bos = !frame.empty() && frame.front() != eos;
    const bool adds_eos = !frame.empty() && frame.back() == eos;
    if (adds_bos) metadata_.set_u32("tokenizer.ggml.bos_token_id", frame.front());
    set_id("bos_token_id", bos);
    set_id("eos_token_id", eos);
    set_id("padding_token_id", named("pad_token"));
    set_id("unknown_token_id", named("unk_token"));
    metadata_.set_flag("tokenizer.ggml.add_bos_token", adds_bos);
    metadata_.set_flag("tokenizer.ggml.add_eos_token", adds_eos);
  }

  // What the arrays do not say; where they would not give the same tokenizer back, the whole.
  void write_rules() {
    const Json rules = split_rules(json_, types_);
    const std::vector<std::string_view> tokens(tokens_.begin(), tokens_.end()),
        merges(merges_.begin(), merges_.end());
    const Json joined = join_rules(rules, tokens, types_, merges);
    if (make_tokenizer(joined, kRules)->fingerprint() == tokenizer_->fingerprint())
      metadata_.set_text(kRules, rules.dump());
    else
      metadata_.set_text(kWhole, files_.tokenizer);
  }

  GgufMetadata& metadata_;
  const TokenizerFiles& files_;
  Json json_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::string> tokens_, merges_;
  std::vector<std::int64_t> types_;
};

std::string read_if_there(const fs::path& path) { return fs::exists(path) ? read_file(path) : ""; }

}  // namespace

TokenizerFiles tokenizer_files(const fs::path& folder) {
  TokenizerFiles files;
  files.tokenizer = read_if_there(folder / "tokenizer.json");
  files.config = read_if_there(folder / "tokenizer_config.json");
  files.chat_template = read_if_there(folder / "chat_template.jinja");
  files.generation_config = read_if_there(folder / "generation_config.json");
  if (files.tokenizer.empty() && fs::exists(folder / "vocab.json"))
    files.tokenizer = tokenizer_text(read_tokenizer_json(folder));
  if (files.chat_template.empty() && !files.config.empty()) {
    const Json config = parse_object(files.config, (folder / "tokenizer_config.json").string());
    if (const Json source = config.value("chat_template", Json()); source.is_string())
      files.chat_template = source.get<std::string>();
  }
  return files;
}

void write_tokenizer_files(const TokenizerFiles& files, const fs::path& folder) {
  const auto write = [&](const char* name, const std::string& text) {
    if (!text.empty()) write_file_atomically(folder / name, text);
  };
  write("tokenizer.json", files.tokenizer);
  write("tokenizer_config.json", files.config);
  write("chat_template.jinja", files.chat_template);
  write("generation_config.json", files.generation_config);
}

std::string add_tokenizer(GgufMetadata& metadata, const TokenizerFiles& files, std::int64_t vocab_size) {
  const auto set = [&](const char* key, const std::string& text) {
    if (!text.empty()) metadata.set_text(key, text);
  };
  set(kConfig, files.config);
  set(kTemplate, files.chat_template);
  set(kGeneration, files.generation_config);
  if (files.tokenizer.empty()) {
    metadata.set_text(kModel, "none");
    return "";
  }
  return Writer(metadata, files, vocab_size).write();
}

}  // namespace retort
