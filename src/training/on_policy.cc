#include "training/on_policy.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "model/generate.h"

namespace retort {
namespace {

constexpr std::uint64_t kChoiceStream = 0x6f6e706f6c696379;  // draws of which batches, apart from all others

struct Prompt {
  Sequence sequence;
  std::uint64_t id;
  std::int32_t source;
  float weight;
};

// Tokens up to the first target of each sequence that has one.
std::vector<Prompt> prompts_of(const Batch& batch) {
  std::vector<Prompt> prompts;
  for (std::size_t s = 0; s + 1 < batch.sequence_starts.size(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.sequence_starts[s]),
               end = static_cast<std::size_t>(batch.sequence_starts[s + 1]);
    std::size_t last = begin;
    while (last < end && batch.targets[last] == kNoTarget) ++last;
    if (last == end) continue;
    prompts.push_back({.sequence = {{batch.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                     batch.tokens.begin() + static_cast<std::ptrdiff_t>(last) + 1},
                                    ""},
                       .id = batch.example_ids[s],
                       .source = batch.sources[s],
                       .weight = batch.weights[last]});
  }
  return prompts;
}

class OnPolicy : public BatchSource {
 public:
  OnPolicy(std::unique_ptr<BatchSource> prompts, const CausalLM& student, const OnPolicyOptions& options,
           std::int64_t batch_tokens, std::uint64_t seed)
      : prompts_(std::move(prompts)),
        student_(student),
        options_(options),
        batch_tokens_(batch_tokens),
        seed_(seed) {}

  std::optional<Batch> next() override {
    std::optional<Batch> batch = prompts_->next();
    Random random(seed_, kChoiceStream);
    random.seek(static_cast<std::uint64_t>(number_++));
    if (!batch || random.uniform() >= options_.share) return batch;
    Batch written = write(*batch);
    return written.target_count() > 0 ? std::move(written) : std::move(batch);
  }

  void reweigh(std::span<const double> factors) override { prompts_->reweigh(factors); }
  Json state() const override { return {{"prompts", prompts_->state()}, {"number", number_}}; }
  void restore(const Json& state) override {
    prompts_->restore(state.at("prompts"));
    number_ = state.at("number").get<std::int64_t>();
  }

 private:
  Batch write(const Batch& batch) const {
    const std::vector<Prompt> prompts = prompts_of(batch);
    std::vector<Sequence> sequences;
    for (const Prompt& prompt : prompts) sequences.push_back(prompt.sequence);
    GenerateOptions sampling = options_.sampling;
    sampling.seed = static_cast<std::int64_t>(Random(seed_, static_cast<std::uint64_t>(number_)).next() >> 1);
    std::vector<std::vector<TokenId>> answers(prompts.size());
    generate_with_cache(
        student_, sequences, sampling,
        [&](std::size_t prompt, TokenId token, float) {
          answers[prompt].push_back(token);
          return true;
        },
        {.slots = static_cast<std::int64_t>(sequences.size()), .max_batch_tokens = batch_tokens_});

    const auto& ends = student_.config().eos_token_ids;
    Batch written;
    written.by_student = true;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      Example example{.tokens = prompts[i].sequence.tokens,
                      .is_target = {},
                      .id = prompts[i].id,
                      .source = prompts[i].source,
                      .weight = prompts[i].weight};
      example.is_target.assign(example.tokens.size(), 0);
      const bool ended = static_cast<std::int64_t>(answers[i].size()) < sampling.max_tokens;
      if (ended && !ends.empty() &&
          static_cast<std::int64_t>(example.tokens.size() + answers[i].size()) < student_.context())
        answers[i].push_back(ends.front());
      example.tokens.insert(example.tokens.end(), answers[i].begin(), answers[i].end());
      example.is_target.resize(example.tokens.size(), 1);
      if (written.size() + static_cast<std::int64_t>(example.tokens.size()) <= batch_tokens_)
        written.append(example);
    }
    return written;
  }

  std::unique_ptr<BatchSource> prompts_;
  const CausalLM& student_;
  OnPolicyOptions options_;
  std::int64_t batch_tokens_;
  std::uint64_t seed_;
  std::int64_t number_ = 0;  // batches handed out
};

}  // namespace

void OnPolicyOptions::visit(OptionList& list) {
  list.add("share", share, "of the batches that the student writes");
  sampling.visit(list);
}

void OnPolicyOptions::check(const std::string& where) const {
  if (!(share >= 0 && share <= 1))
    throw Error({.where = where + ": share",
                 .found = Json(share).dump(),
                 .expected = "a share between 0 and 1",
                 .advice = ""});
  sampling.check(where);
}

std::unique_ptr<BatchSource> write_on_policy(std::unique_ptr<BatchSource> prompts, const CausalLM& student,
                                             const OnPolicyOptions& options, std::int64_t batch_tokens,
                                             std::uint64_t seed) {
  return std::make_unique<OnPolicy>(std::move(prompts), student, options, batch_tokens, seed);
}

}  // namespace retort
