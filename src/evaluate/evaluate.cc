#include "evaluate/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/machine.h"
#include "data/example.h"
#include "evaluate/questions.h"
#include "evaluate/summary.h"

namespace retort {
namespace {

// A pair as the model sees it.
struct Encoded {
  Example example;  // prompt and answer
  std::vector<TokenId> prompt;
};

class ModelJudge {
 public:
  ModelJudge(LanguageModel& model, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
             const EvaluateOptions& options)
      : model_(model), tokenizer_(tokenizer), chat_template_(chat_template), options_(options) {
    generate_options_.max_tokens = options.max_tokens;
    generate_options_.cancelled = options.cancelled;
  }

  Evaluation run(RecordSource& records) {
    const bool peak_is_ours = reset_peak_memory();
    read(records);
    measure_likelihood();
    if (options_.generate && !encoded_.empty()) {
      generate_all();
      measure_latency();
    }
    if (peak_is_ours) result_.peak_memory_bytes = peak_memory_bytes();
    if (!stopped()) summarize(result_, options_);
    return std::move(result_);
  }

 private:
  void read(RecordSource& records) {
    const std::int64_t context = model_.context();
    while (!stopped() &&
           (options_.limit <= 0 || static_cast<std::int64_t>(encoded_.size()) < options_.limit)) {
      std::optional<Question> question = next_question(records, result_.skipped);
      if (!question) break;
      Encoded encoded;
      try {
        encoded.example = encode_dialogue(tokenizer_, chat_template_, question->messages);
        encoded.prompt = encode_prompt(tokenizer_, chat_template_,
                                       std::span(question->messages).first(question->messages.size() - 1));
      } catch (const Error& refusal) {  // of the template: a role or an order that it does not know
        skip(result_.skipped, fmt::format("record {:016x}: {}", question->id, refusal.what()));
        continue;
      }
      if (static_cast<std::int64_t>(encoded.example.tokens.size()) > context) {
        skip(result_.skipped, fmt::format("record {:016x}: {} tokens, the context has {}", encoded.example.id,
                                          encoded.example.tokens.size(), context));
        continue;
      }
      end_answers_at_last_target(encoded.example);
      JudgedPair& pair = result_.pairs.emplace_back();
      pair.source = std::move(question->source);
      pair.reference = std::move(question->reference);
      pair.reference_chars = count_chars(pair.reference);
      encoded_.push_back(std::move(encoded));
    }
    add_skipped(result_.skipped, records.skipped());
  }

  // The model's config may not list the token with which its own chat template ends an answer (base models
  // with a borrowed template): what ends a reference ends an answer, if it is a token of its own.
  void end_answers_at_last_target(const Example& example) {
    TokenId last = -1;
    for (std::size_t i = 0; i < example.tokens.size(); ++i)
      if (example.is_target[i]) last = example.tokens[i];
    const auto& added = tokenizer_.added_tokens();
    std::vector<TokenId>& ends = generate_options_.end_tokens;
    if (std::any_of(added.begin(), added.end(), [&](const AddedToken& token) { return token.id == last; }) &&
        std::find(ends.begin(), ends.end(), last) == ends.end())
      ends.push_back(last);
  }

  void report(EvaluatePhase phase, std::size_t done, std::size_t total) const {
    if (options_.progress)
      options_.progress(phase, static_cast<std::int64_t>(done), static_cast<std::int64_t>(total));
  }

  bool stopped() {
    result_.stopped = result_.stopped || (options_.cancelled && options_.cancelled());
    return result_.stopped;
  }

  std::size_t batch_end(std::size_t begin) const {
    return std::min(encoded_.size(),
                    begin + static_cast<std::size_t>(std::max<std::int64_t>(options_.batch_size, 1)));
  }

  void measure_likelihood() {
    for (std::size_t begin = 0; begin < encoded_.size() && !stopped(); begin = batch_end(begin)) {
      std::vector<Sequence> sequences;
      for (std::size_t i = begin; i < batch_end(begin); ++i)
        sequences.push_back({encoded_[i].example.tokens, ""});
      const std::vector<Scores> scores = model_.score(sequences);
      for (std::size_t i = begin; i < batch_end(begin); ++i) {
        const Example& example = encoded_[i].example;
        const std::vector<float>& logprobs = scores.at(i - begin).logprobs;  // [j]: of token j + 1
        JudgedPair& pair = result_.pairs[i];
        for (std::size_t j = 1; j < example.tokens.size(); ++j) {
          if (!example.is_target[j]) continue;
          pair.negative_log_likelihood -= static_cast<double>(logprobs.at(j - 1));
          ++pair.target_tokens;
        }
      }
      report(EvaluatePhase::likelihood, batch_end(begin), encoded_.size());
    }
    result_.has_likelihood = !encoded_.empty();
  }

  std::vector<std::vector<TokenId>> generate(std::size_t begin, std::size_t end) {
    std::vector<Sequence> prompts;
    for (std::size_t i = begin; i < end; ++i) prompts.push_back({encoded_[i].prompt, ""});
    std::vector<std::vector<TokenId>> answers(prompts.size());
    model_.generate(prompts, generate_options_, [&](std::size_t prompt, TokenId token, float) {
      answers.at(prompt).push_back(token);
      return true;
    });
    return answers;
  }

  void generate_all() {
    double seconds = 0;
    std::size_t tokens = 0;
    for (std::size_t begin = 0; begin < encoded_.size() && !stopped(); begin = batch_end(begin)) {
      const Clock::time_point start = Clock::now();
      const std::vector<std::vector<TokenId>> answers = generate(begin, batch_end(begin));
      seconds += seconds_since(start);
      for (std::size_t i = 0; i < answers.size(); ++i) {
        tokens += answers[i].size();
        result_.pairs[begin + i].hypothesis = tokenizer_.decode(answers[i], true);
      }
      report(EvaluatePhase::generation, batch_end(begin), encoded_.size());
    }
    for (JudgedPair& pair : result_.pairs) judge_texts(pair, options_);
    if (seconds > 0) result_.tokens_per_second = static_cast<double>(tokens) / seconds;
    result_.has_answers = true;
  }

  // Over evenly spaced pairs, so that a file sorted by length or topic is sampled fairly.
  void measure_latency() {
    const std::size_t samples = std::min(
        encoded_.size(), static_cast<std::size_t>(std::max<std::int64_t>(options_.latency_samples, 0)));
    std::vector<double> milliseconds;
    for (std::size_t k = 0; k < samples && !stopped(); ++k) {
      const std::size_t i = k * encoded_.size() / samples;
      const Clock::time_point start = Clock::now();
      generate(i, i + 1);
      milliseconds.push_back(1000 * seconds_since(start));
      report(EvaluatePhase::latency, k + 1, samples);
    }
    if (milliseconds.empty() || stopped()) return;
    std::sort(milliseconds.begin(), milliseconds.end());
    const std::size_t half = samples / 2;
    result_.latency_median_ms =
        samples % 2 ? milliseconds[half] : (milliseconds[half - 1] + milliseconds[half]) / 2;
    result_.latency_p99_ms = milliseconds[(samples * 99 + 99) / 100 - 1];  // nearest rank
  }

  LanguageModel& model_;
  const Tokenizer& tokenizer_;
  const ChatTemplate& chat_template_;
  const EvaluateOptions& options_;
  GenerateOptions generate_options_;  // temperature 0: the likeliest token
  std::vector<Encoded> encoded_;
  Evaluation result_;
};

}  // namespace

void EvaluateOptions::visit(OptionList& list) {
  list.add("limit", limit, "judge at most this many pairs; 0 = all");
  list.add("max_tokens", max_tokens, "longest answer, in tokens");
  list.add("batch_size", batch_size, "prompts generated together");
  list.add("latency_samples", latency_samples,
           "answers generated one at a time to measure latency; 0 = none");
  list.add("bleu_tokenize", bleu_tokenize, "how BLEU splits words").choices = bleu_tokenizers();
  list.add("rouge_unit", rouge_unit, "what ROUGE counts").choices = {"character", "word"};
  list.add("generate", generate, "also generate answers; false: likelihood only");
}

Evaluation evaluate_model(LanguageModel& model, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                          RecordSource& records, const EvaluateOptions& options) {
  return ModelJudge(model, tokenizer, chat_template, options).run(records);
}

Evaluation evaluate_copy(RecordSource& records, const EvaluateOptions& options) {
  Evaluation evaluation;
  evaluation.has_answers = true;
  while (options.limit <= 0 || static_cast<std::int64_t>(evaluation.pairs.size()) < options.limit) {
    std::optional<Question> question = next_question(records, evaluation.skipped);
    if (!question) break;
    JudgedPair& pair = evaluation.pairs.emplace_back();
    pair.source = pair.hypothesis = std::move(question->source);
    pair.reference = std::move(question->reference);
    judge_texts(pair, options);
  }
  add_skipped(evaluation.skipped, records.skipped());
  summarize(evaluation, options);
  return evaluation;
}

}  // namespace retort
