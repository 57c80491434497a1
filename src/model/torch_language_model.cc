#include "model/torch_language_model.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/generate.h"
#include "model/score.h"

namespace retort {
namespace {

class TorchLanguageModel : public LanguageModel {
 public:
  TorchLanguageModel(std::shared_ptr<const CausalLM> model, std::int64_t max_batch_tokens)
      : model_(std::move(model)), max_batch_tokens_(max_batch_tokens) {}

  const ModelConfig& config() const override { return model_->config(); }
  std::int64_t context() const override { return model_->context(); }

  std::vector<Scores> score(std::span<const Sequence> sequences, const ScoreOptions& options) override {
    check(sequences);
    return score_sequences(*model_, sequences, options, max_batch_tokens_);
  }

  void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                const TokenCallback& callback) override {
    check(prompts);
    // A step of a small model keeps a GPU busy for less time than its launches take: many sequences share it.
    const std::int64_t slots = model_->device().is_cuda() ? 1024 : GenerateLimits{}.slots;
    generate_with_cache(*model_, prompts, options, callback,
                        {.slots = slots, .max_batch_tokens = max_batch_tokens_});
  }

 private:
  void check(std::span<const Sequence> sequences) const {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::string where = fmt::format("sequence {}", i);
      const auto& [tokens, adapter] = sequences[i];
      if (tokens.empty()) throw Error({.where = where, .found = "no tokens", .expected = "at least one"});
      if (static_cast<std::int64_t>(tokens.size()) > model_->context())
        throw Error({.where = where,
                     .found = fmt::format("{} tokens", tokens.size()),
                     .expected = fmt::format("at most the context of {}", model_->context()),
                     .advice = "Shorten the text"});
      for (const TokenId token : tokens)
        if (token < 0 || token >= config().vocab_size)
          throw Error({.where = where,
                       .found = fmt::format("token {}", token),
                       .expected = fmt::format("0 … {}", config().vocab_size - 1),
                       .advice = "The tokenizer is not this model's"});
      if (!adapter.empty())
        throw Error({.where = where,
                     .found = "adapter '" + adapter + "'",
                     .expected = "none: this model has no adapters"});
    }
  }

  std::shared_ptr<const CausalLM> model_;
  std::int64_t max_batch_tokens_;
};

}  // namespace

std::unique_ptr<LanguageModel> as_language_model(std::shared_ptr<const CausalLM> model,
                                                 std::int64_t max_batch_tokens) {
  return std::make_unique<TorchLanguageModel>(std::move(model), max_batch_tokens);
}

}  // namespace retort
