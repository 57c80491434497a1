#include "data/tokenizers/bpe_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "base/token.h"
#include "data/tokenizers/byte_characters.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/patterns.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/tokenizers/utf8.h"

namespace retort {
namespace {

struct Word {
  std::vector<TokenId> symbols;
  std::int64_t count;
};

using Pair = std::pair<TokenId, TokenId>;
struct PairHash {
  std::size_t operator()(const Pair& pair) const {
    return std::hash<std::uint64_t>()(std::uint64_t{static_cast<std::uint32_t>(pair.first)} << 32 |
                                      static_cast<std::uint32_t>(pair.second));
  }
};

struct Candidate {
  std::int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// Which words hold a pair is kept as a list that may name words that no longer do: they are passed over.
struct PairRecord {
  std::int64_t count = 0;
  std::vector<std::int32_t> words;
};

std::vector<Word> count_words(const std::function<std::optional<std::string>()>& next_text,
                              const PreTokenizer& splitter, const Normalizer& normalizer,
                              const std::unordered_map<std::string, TokenId>& alphabet) {
  std::unordered_map<std::string, std::int64_t> counts;
  while (const std::optional<std::string> text = next_text()) {
    const std::string clean = is_valid_utf8(*text) ? *text : replace_invalid_utf8(*text);
    for (TextPiece& piece : splitter.split({{normalizer.apply(clean), true}}))
      ++counts[std::move(piece.text)];
  }
  std::vector<std::pair<std::string, std::int64_t>> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<Word> words;
  words.reserve(sorted.size());
  for (const auto& [text, count] : sorted) {
    Word word{{}, count};
    for (std::size_t at = 0; at < text.size();) {
      const auto length = static_cast<std::size_t>(code_point_at(text, at).length);
      word.symbols.push_back(alphabet.at(text.substr(at, length)));
      at += length;
    }
    words.push_back(std::move(word));
  }
  return words;
}

class Trainer {
 public:
  Trainer(std::vector<Word> words, std::vector<std::string> tokens)
      : words_(std::move(words)), tokens_(std::move(tokens)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<TokenId>(i));
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::size_t i = 0; i + 1 < words_[w].symbols.size(); ++i)
        change({words_[w].symbols[i], words_[w].symbols[i + 1]}, words_[w].count,
               static_cast<std::int32_t>(w));
    for (const auto& [pair, record] : pairs_) queue_.push({record.count, pair});
  }

  void run(std::int64_t vocab_size, std::int64_t min_frequency) {
    while (static_cast<std::int64_t>(tokens_.size()) < vocab_size && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const std::int64_t count = pairs_[best.pair].count;
      if (count != best.count) {  // counted before other merges changed it
        if (count > 0) queue_.push({count, best.pair});
        continue;
      }
      if (count < std::max<std::int64_t>(1, min_frequency)) break;
      apply(best.pair);
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<Pair>& merges() const { return merges_; }

 private:
  void change(const Pair& pair, std::int64_t by, std::int32_t word) {
    PairRecord& record = pairs_[pair];
    record.count += by;
    if (by > 0 && (record.words.empty() || record.words.back() != word)) record.words.push_back(word);
  }

  void apply(const Pair& pair) {
    const std::string text =
        tokens_[static_cast<std::size_t>(pair.first)] + tokens_[static_cast<std::size_t>(pair.second)];
    const auto [known, is_new] = ids_.emplace(text, static_cast<TokenId>(tokens_.size()));
    if (is_new) tokens_.push_back(text);
    const TokenId merged = known->second;
    merges_.push_back(pair);
    std::vector<std::int32_t> where = std::move(pairs_[pair].words);
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    std::vector<Pair> grown;
    for (const std::int32_t w : where)
      merge_word(words_[static_cast<std::size_t>(w)], w, pair, merged, grown);
    pairs_.erase(pair);
    std::sort(grown.begin(), grown.end());
    grown.erase(std::unique(grown.begin(), grown.end()), grown.end());
    for (const Pair& g : grown)
      if (const auto record = pairs_.find(g); record != pairs_.end() && record->second.count > 0)
        queue_.push({record->second.count, g});
  }

  // Replaces the pair in one word and moves the counts of the pairs around it.
  void merge_word(Word& word, std::int32_t index, const Pair& pair, TokenId merged,
                  std::vector<Pair>& grown) {
    std::vector<TokenId>& s = word.symbols;
    const auto grow = [&](const Pair& g) {
      change(g, word.count, index);
      grown.push_back(g);
    };
    for (std::size_t i = 0; i + 1 < s.size(); ++i) {
      if (s[i] != pair.first || s[i + 1] != pair.second) continue;
      if (i > 0) {
        change({s[i - 1], s[i]}, -word.count, index);
        grow({s[i - 1], merged});
      }
      s[i] = merged;
      s.erase(s.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      if (i + 1 < s.size()) {
        change({pair.second, s[i + 1]}, -word.count, index);
        grow({merged, s[i + 1]});
      }
    }
  }

  std::vector<Word> words_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, TokenId> ids_;
  std::unordered_map<Pair, PairRecord, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> merges_;
};

}  // namespace

void BpeTrainerOptions::visit(OptionList& list) {
  list.add("vocab_size", vocab_size, "entries, special tokens and the 256 bytes included");
  list.add("min_frequency", min_frequency, "occurrences that a pair needs to be merged");
  list.add("special_tokens", special_tokens, "tokens that text never makes; they get the first ids");
}

Json train_bpe(const std::function<std::optional<std::string>()>& next_text,
               const BpeTrainerOptions& options) {
  const auto fixed = static_cast<std::int64_t>(options.special_tokens.size()) + 256;
  if (options.vocab_size < fixed)
    throw Error({.where = "vocab_size",
                 .found = std::to_string(options.vocab_size),
                 .expected = fmt::format("at least {}: special tokens and bytes", fixed),
                 .advice = ""});
  std::vector<std::string> tokens = options.special_tokens;
  std::vector<std::string> alphabet(byte_characters().begin(), byte_characters().end());
  std::sort(alphabet.begin(), alphabet.end());  // UTF-8 sorts as code points do
  tokens.insert(tokens.end(), alphabet.begin(), alphabet.end());
  std::unordered_map<std::string, TokenId> ids;
  for (std::size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], static_cast<TokenId>(i));

  const Json pre_tokenizer = split_then_byte_level(kQwen2Pattern), normalizer = {{"type", "NFC"}};
  Trainer trainer(count_words(next_text, *make_pre_tokenizer(pre_tokenizer, "trainer"),
                              *make_normalizer(normalizer, "trainer"), ids),
                  tokens);
  trainer.run(options.vocab_size, options.min_frequency);

  Json vocabulary = Json::object(), merges = Json::array(), added = Json::array();
  for (std::size_t i = 0; i < trainer.tokens().size(); ++i) vocabulary[trainer.tokens()[i]] = i;
  for (const auto& [left, right] : trainer.merges())
    merges.push_back({trainer.tokens()[static_cast<std::size_t>(left)],
                      trainer.tokens()[static_cast<std::size_t>(right)]});
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i)
    added.push_back({{"id", i},
                     {"content", options.special_tokens[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", normalizer},
      {"pre_tokenizer", pre_tokenizer},
      {"post_processor",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}},
      {"decoder",
       {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocabulary},
        {"merges", merges}}}};
}

void write_tokenizer(const std::filesystem::path& folder, const Json& tokenizer_json, const Json& config) {
  write_json(folder / "tokenizer.json", tokenizer_json);
  Json full = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  full.update(config);
  write_json(folder / "tokenizer_config.json", full);
}

}  // namespace retort
