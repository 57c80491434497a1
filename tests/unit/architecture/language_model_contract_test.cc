// A LanguageModel that is a table: the smallest implementation of the interface, and the first to pass its
// contract.
#include "architecture/language_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "support/language_model_contract.h"

namespace retort {
namespace {

class BigramModel : public LanguageModel {
 public:
  using Table = std::vector<std::vector<float>>;  // logits of the next token, by the last one

  explicit BigramModel(Table table) : base_(std::move(table)) {
    config_.model_type = "bigram";
    config_.vocab_size = static_cast<std::int64_t>(base_.size());
    config_.max_position_embeddings = 16;
    config_.eos_token_ids = {0};
  }
  void load_adapter(const std::string& name, Table table) { adapters_[name] = std::move(table); }

  const ModelConfig& config() const override { return config_; }

  std::vector<Scores> score(std::span<const Sequence> sequences, const ScoreOptions& options) override {
    std::vector<Scores> result;
    for (const Sequence& sequence : sequences) result.push_back(score_one(sequence, options));
    return result;
  }

  void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                const TokenCallback& callback) override {
    for (std::size_t i = 0; i < prompts.size(); ++i) continue_one(i, prompts[i], options, callback);
  }

 private:
  const Table& table_for(const Sequence& sequence) const {
    if (sequence.tokens.empty() ||
        sequence.tokens.size() > static_cast<std::size_t>(config_.max_position_embeddings))
      throw Error({.where = "a sequence",
                   .found = fmt::format("{} tokens", sequence.tokens.size()),
                   .expected = fmt::format("1 … {}", config_.max_position_embeddings)});
    for (const TokenId token : sequence.tokens)
      if (token < 0 || token >= config_.vocab_size)
        throw Error({.where = "a sequence", .found = fmt::format("the token {}", token)});
    if (sequence.adapter.empty()) return base_;
    const auto found = adapters_.find(sequence.adapter);
    if (found == adapters_.end()) throw Error({.where = "adapter", .found = "'" + sequence.adapter + "'"});
    return found->second;
  }

  static std::vector<float> log_softmax(const std::vector<float>& logits) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    std::vector<float> result;
    for (const float logit : logits) result.push_back(static_cast<float>(logit - std::log(sum)));
    return result;
  }

  Scores score_one(const Sequence& sequence, const ScoreOptions& options) const {
    if (!options.attention_layers.empty())
      throw Error({.where = "attention maps", .found = "a model without attention"});
    const Table& table = table_for(sequence);
    Scores scores;
    for (std::size_t i = 0; i + 1 < sequence.tokens.size(); ++i) {
      const std::vector<float> row = log_softmax(table[static_cast<std::size_t>(sequence.tokens[i])]);
      scores.logprobs.push_back(row[static_cast<std::size_t>(sequence.tokens[i + 1])]);
      if (options.entropy) {
        float entropy = 0;
        for (const float logprob : row) entropy -= std::exp(logprob) * logprob;
        scores.entropy.push_back(entropy);
      }
      if (options.top_k == 0) continue;
      std::vector<TokenLogprob> top;
      for (std::size_t v = 0; v < row.size(); ++v) top.push_back({static_cast<TokenId>(v), row[v]});
      std::stable_sort(top.begin(), top.end(), [](auto a, auto b) { return a.logprob > b.logprob; });
      top.resize(std::min(top.size(), static_cast<std::size_t>(options.top_k)));
      scores.top.push_back(std::move(top));
    }
    return scores;
  }

  void continue_one(std::size_t prompt, const Sequence& sequence, const GenerateOptions& options,
                    const TokenCallback& callback) const {
    const Table& table = table_for(sequence);
    std::vector<TokenId> tokens = sequence.tokens;
    std::vector<TokenId> ends = config_.eos_token_ids;
    ends.insert(ends.end(), options.end_tokens.begin(), options.end_tokens.end());
    for (std::int64_t made = 0; made < options.max_tokens; ++made) {
      if (tokens.size() >= static_cast<std::size_t>(config_.max_position_embeddings)) return;
      std::vector<float> logits = table[static_cast<std::size_t>(tokens.back())];
      const std::vector<float> logprobs = log_softmax(logits);
      const TokenId next = sample_token(logits,
                                        {.history = tokens,
                                         .prompt_tokens = sequence.tokens.size(),
                                         .sequence = prompt,
                                         .position = tokens.size()},
                                        options);
      if (std::find(ends.begin(), ends.end(), next) != ends.end()) return;
      tokens.push_back(next);
      if (!callback(prompt, next, logprobs[static_cast<std::size_t>(next)])) return;
    }
  }

  ModelConfig config_;
  Table base_;
  std::map<std::string, Table> adapters_;
};

BigramModel::Table random_table(std::uint64_t seed) {
  BigramModel::Table table(7, std::vector<float>(7));
  for (std::size_t i = 0; i < 49; ++i) table[i / 7][i % 7] = static_cast<float>(Random(seed, i).normal());
  for (auto& row : table) row[0] = -3;  // the end is rare
  return table;
}

TEST(LanguageModel, ATableKeepsTheContract) {
  BigramModel model(random_table(1));
  model.load_adapter("domain", random_table(2));
  check_language_model(model,
                       {.sequences = {{{1, 2, 3, 4}, ""}, {{5}, ""}, {{6, 0, 2}, ""}, {{3, 3}, "domain"}},
                        .adapter = "domain"});
}

TEST(LanguageModel, GenerationStopsAtTheContext) {
  BigramModel model(random_table(1));
  const Sequence prompt{std::vector<TokenId>(14, 1), ""};
  EXPECT_EQ(generate_all(model, std::span(&prompt, 1), {.max_tokens = 100}).tokens[0].size(), 2u);
}

}  // namespace
}  // namespace retort
