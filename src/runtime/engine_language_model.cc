#include "runtime/engine_language_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/batcher.h"
#include "runtime/kernels/vector_ops.h"
#include "runtime/log_softmax.h"

namespace retort {
namespace {

// Sequences are read in order, several in a step, long ones in pieces; every row but a sequence's last
// predicts a token.
class Scorer {
 public:
  Scorer(Engine& engine, std::span<const Sequence> sequences, const ScoreOptions& options,
         const std::string& adapter)
      : engine_(engine),
        sequences_(sequences),
        options_(options),
        adapter_(adapter),
        results_(sequences.size()) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::size_t rows = sequences[i].tokens.size() - 1;
      results_[i].logprobs.resize(rows);
      if (options.entropy) results_[i].entropy.resize(rows);
      if (options.top_k > 0) results_[i].top.resize(rows);
    }
  }
  ~Scorer() {
    for (const Open& open : open_) engine_.cache().remove(open.id);
  }

  std::vector<Scores> run() {
    while (fill_step()) {
      const std::int64_t rows = engine_.step(pieces_);
      for (std::int64_t begin = 0; begin < rows; begin += engine_.max_logit_rows())
        take(begin, std::min(engine_.max_logit_rows(), rows - begin));
      std::erase_if(open_, [&](const Open& open) {
        const bool done = open.read + 1 >= sequences_[open.index].tokens.size();
        if (done) engine_.cache().remove(open.id);
        return done;
      });
    }
    return std::move(results_);
  }

 private:
  struct Open {
    std::size_t index;
    SequenceId id;
    std::size_t read;  // tokens
  };
  struct Row {
    std::size_t index, position;
  };

  // The last token of a sequence predicts nothing and is never read.
  bool fill_step() {
    pieces_.clear();
    rows_.clear();
    auto room = static_cast<std::size_t>(engine_.options().max_batch_tokens);
    std::int64_t free = engine_.cache().available_blocks();
    for (Open& open : open_) add(open, room, free);
    while (room > 0 && next_ < sequences_.size()) {
      if (sequences_[next_].tokens.size() < 2) {
        ++next_;
        continue;
      }
      const std::string& adapter = sequences_[next_].adapter.empty() ? adapter_ : sequences_[next_].adapter;
      const std::int64_t blocks = engine_.cache().blocks_for(
          engine_.virtual_tokens(adapter) + static_cast<std::int64_t>(sequences_[next_].tokens.size()) - 1);
      if (blocks > free && !open_.empty()) break;  // alone it must fit; the step says so if it does not
      open_.push_back({next_++, engine_.open(adapter), 0});
      add(open_.back(), room, free);
    }
    return !pieces_.empty();
  }

  void add(Open& open, std::size_t& room, std::int64_t& free) {
    const std::vector<TokenId>& tokens = sequences_[open.index].tokens;
    const std::size_t count = std::min(room, tokens.size() - 1 - open.read);
    // What it will still need belongs to it already.
    free -= engine_.cache().blocks_needed(open.id, static_cast<std::int64_t>(tokens.size() - 1 - open.read));
    if (count == 0) return;
    pieces_.push_back({.sequence = open.id,
                       .tokens = std::span(tokens).subspan(open.read, count),
                       .outputs = Outputs::all,
                       .prompt_tokens = static_cast<std::int64_t>(tokens.size()) - 1});
    for (std::size_t i = 0; i < count; ++i) rows_.push_back({open.index, open.read + i});
    open.read += count;
    room -= count;
  }

  void take(std::int64_t begin, std::int64_t count) {
    const std::span<float> logits = engine_.logits(begin, count);
    const auto width = static_cast<std::size_t>(engine_.config().vocab_size);
    engine_.parallel(count, [&](std::int64_t i) {
      const Row row = rows_[static_cast<std::size_t>(begin + i)];
      take_row(row, logits.subspan(static_cast<std::size_t>(i) * width, width));
    });
  }

  void take_row(Row row, std::span<const float> logits) {
    Scores& scores = results_[row.index];
    const auto target = static_cast<std::size_t>(sequences_[row.index].tokens[row.position + 1]);
    const float lse = log_sum_exp(logits);
    scores.logprobs[row.position] = logits[target] - lse;
    if (options_.entropy) scores.entropy[row.position] = entropy(logits, lse);
    if (options_.top_k > 0) scores.top[row.position] = top_logprobs(logits, lse, options_.top_k);
  }

  Engine& engine_;
  std::span<const Sequence> sequences_;
  const ScoreOptions& options_;
  const std::string& adapter_;  // of sequences that name none
  std::vector<Scores> results_;
  std::vector<Open> open_;
  std::size_t next_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Row> rows_;
};

class EngineLanguageModel : public LanguageModel {
 public:
  EngineLanguageModel(std::shared_ptr<Engine> engine, std::string adapter)
      : engine_(std::move(engine)), adapter_(std::move(adapter)) {}

  const ModelConfig& config() const override { return engine_->config(); }
  std::int64_t context() const override {
    return config().max_position_embeddings - engine_->virtual_tokens(adapter_);
  }

  std::vector<Scores> score(std::span<const Sequence> sequences, const ScoreOptions& options) override {
    check(sequences);
    if (!options.attention_layers.empty())
      throw Error({.where = "attention maps",
                   .found = "the CPU engine",
                   .expected = "a model folder opened with LibTorch",
                   .advice = "The engine never holds a whole map"});
    return Scorer(*engine_, sequences, options, adapter_).run();
  }

  void generate(std::span<const Sequence> prompts, const GenerateOptions& options,
                const TokenCallback& callback) override {
    check(prompts);
    if (options.max_tokens <= 0) return;
    Batcher batcher(*engine_);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const std::string& adapter = adapter_of(prompts[i]);
      if (static_cast<std::int64_t>(prompts[i].tokens.size()) + engine_->virtual_tokens(adapter) >=
          config().max_position_embeddings)
        continue;
      batcher.submit({.prompt = prompts[i].tokens,
                      .adapter = adapter,
                      .options = options,
                      .draw = i,
                      .on_token = [&callback, i](const TokenLogprob& token, std::span<const TokenLogprob>) {
                        return callback(i, token.token, token.logprob);
                      }});
    }
    while (!(options.cancelled && options.cancelled()) && batcher.step()) {
    }
  }

 private:
  void check(std::span<const Sequence> sequences) const {
    for (std::size_t i = 0; i < sequences.size(); ++i)
      engine_->check_tokens(sequences[i].tokens, adapter_of(sequences[i]), fmt::format("sequence {}", i));
  }
  const std::string& adapter_of(const Sequence& sequence) const {
    return sequence.adapter.empty() ? adapter_ : sequence.adapter;
  }

  std::shared_ptr<Engine> engine_;
  std::string adapter_;
};

}  // namespace

std::unique_ptr<LanguageModel> as_language_model(std::shared_ptr<Engine> engine, std::string adapter) {
  return std::make_unique<EngineLanguageModel>(std::move(engine), std::move(adapter));
}

}  // namespace retort
