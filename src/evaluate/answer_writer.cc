#include "evaluate/answer_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "data/example.h"
#include "evaluate/metrics/bleu.h"

namespace retort {
namespace {

struct Draft {
  std::size_t question = 0;
  std::int64_t room = 0;  // tokens of an answer that the context has beside the question
  std::vector<TokenId> tokens;
  double log_probability = 0;
};

// BLEU-4 of one text, tokens of Chinese its characters (sacrebleu's zh), counts of longer n-grams smoothed.
double nearness(const std::string& text, const std::string& reference) {
  const BleuOptions options{.tokenize = "zh"};
  return bleu_score(bleu_counts(text, reference, options), options);
}

}  // namespace

void WriterOptions::visit(OptionList& list) {
  list.add("best_of", best_of, "answers written to each question");
  list.add("keep", keep, "of those that pass, so many are kept at most, different ones");
  list.add("rank", rank,
           "which are the best: by mean log-probability under the writer, or under the judge; the shortest; "
           "or those "
           "nearest to the data's answer, by BLEU-4")
      .choices = {"likelihood", "judge", "shortest", "reference"};
  list.add(
          "check", check,
          "compare with the data's answer: number, the one behind #### or the last; regex, the last match of "
          "check_pattern; none")
      .choices = {"none", "number", "regex"};
  list.add("check_pattern", check_pattern, "for check: regex; \\K drops what stands before it");
  list.add("judge_above", judge_above,
           "refuse answers whose mean log-probability under the judge is below this (-1.5); 0: none");
  filter.visit(list);
  generate.visit(list);
}

void WriterOptions::validate() const {
  const auto fail = [](const char* key, std::string found, const char* expected) {
    throw Error({.where = key, .found = std::move(found), .expected = expected});
  };
  if (best_of < 1) fail("best_of", std::to_string(best_of), "at least 1");
  if (keep < 1 || keep > best_of) fail("keep", std::to_string(keep), "at least 1, at most best_of");
  if (judge_above > 0) fail("judge_above", fmt::format("{}", judge_above), "a log-probability: below 0");
  if (best_of > 1 && generate.temperature <= 0)
    fail("temperature", fmt::format("{}", generate.temperature), "above 0, or all answers are the same");
  generate.check("generation");
}

AnswerWriter::AnswerWriter(const ModelView& writer, const ModelView& judge, const WriterOptions& options)
    : writer_(writer),
      judge_(judge),
      options_(options),
      filter_(options.filter),
      check_(options.check, options.check_pattern) {
  options.validate();
  const bool wants_judge = options.rank == "judge" || options.judge_above != 0;
  if (wants_judge && judge.model == nullptr)
    throw Error({.where = "judge",
                 .found = "nothing",
                 .expected = "a model, for rank: judge and judge_above",
                 .advice = ""});
}

void AnswerWriter::judge(const OpenQuestion& question, std::vector<WrittenAnswer>& answers) const {
  std::vector<Sequence> sequences;
  std::vector<Example> examples;
  for (const WrittenAnswer& answer : answers) {
    std::vector<Message> messages = question.messages;
    messages.push_back({"assistant", answer.text});
    examples.push_back(encode_dialogue(*judge_.tokenizer, *judge_.chat_template, messages));
    const auto context = static_cast<std::size_t>(judge_.model->context());
    if (examples.back().tokens.size() > context) examples.back().tokens.resize(context);
    sequences.push_back({examples.back().tokens, ""});
  }
  const std::vector<Scores> scores = judge_.model->score(sequences);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    double sum = 0, targets = 0;
    for (std::size_t t = 1; t < examples[i].tokens.size(); ++t)
      if (examples[i].is_target[t]) sum += static_cast<double>(scores[i].logprobs[t - 1]), ++targets;
    answers[i].judged = sum / std::max(1.0, targets);
  }
}

std::vector<std::vector<WrittenAnswer>> AnswerWriter::write(const std::vector<OpenQuestion>& questions,
                                                            std::uint64_t block) {
  std::vector<Sequence> prompts;
  std::vector<Draft> drafts;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const auto tokens = encode_prompt(*writer_.tokenizer, *writer_.chat_template, questions[q].messages);
    if (static_cast<std::int64_t>(tokens.size()) >= writer_.model->context()) {
      ++counts_["question too long"];
      continue;
    }
    for (std::int64_t n = 0; n < options_.best_of; ++n) {
      prompts.push_back({tokens, ""});
      drafts.push_back({.question = q,
                        .room = writer_.model->context() - static_cast<std::int64_t>(tokens.size()),
                        .tokens = {}});
    }
  }
  GenerateOptions generate = options_.generate;
  generate.seed =
      static_cast<std::int64_t>(Random(static_cast<std::uint64_t>(generate.seed), block).next() >> 1);
  writer_.model->generate(prompts, generate, [&](std::size_t prompt, TokenId token, float logprob) {
    drafts[prompt].tokens.push_back(token);
    drafts[prompt].log_probability += static_cast<double>(logprob);
    return true;
  });

  std::vector<std::vector<WrittenAnswer>> kept(questions.size());
  for (const Draft& draft : drafts) {
    const OpenQuestion& question = questions[draft.question];
    const std::string text = writer_.tokenizer->decode(draft.tokens, /*skip_special=*/true);
    const auto count = static_cast<std::int64_t>(draft.tokens.size());
    const bool cut = count >= std::min(generate.max_tokens, draft.room);
    const char* refusal = cut ? "unfinished" : filter_.refusal(text);
    if (refusal == nullptr && !check_.right(text, question.reference)) refusal = "wrong";
    auto& answers = kept[draft.question];
    const bool known = std::any_of(answers.begin(), answers.end(),
                                   [&](const WrittenAnswer& other) { return other.text == text; });
    if (refusal == nullptr && known) refusal = "passed";
    if (refusal != nullptr)
      ++counts_[refusal];
    else
      answers.push_back(
          {.text = text,
           .likelihood = draft.log_probability / static_cast<double>(std::max<std::int64_t>(1, count)),
           .nearness = options_.rank == "reference" ? nearness(text, question.reference) : 0});
  }
  for (std::size_t q = 0; q < questions.size(); ++q) {
    std::vector<WrittenAnswer>& answers = kept[q];
    if (answers.empty()) continue;
    if (judge_.model != nullptr) judge(questions[q], answers);
    if (options_.judge_above != 0)
      counts_["below the judge's bound"] += static_cast<std::int64_t>(std::erase_if(
          answers, [&](const WrittenAnswer& answer) { return answer.judged < options_.judge_above; }));
    std::stable_sort(answers.begin(), answers.end(), [&](const WrittenAnswer& a, const WrittenAnswer& b) {
      if (options_.rank == "judge") return a.judged > b.judged;
      if (options_.rank == "reference") return a.nearness > b.nearness;
      if (options_.rank == "shortest") return a.text.size() < b.text.size();
      return a.likelihood > b.likelihood;
    });
    const auto most = static_cast<std::size_t>(options_.keep);
    if (answers.size() > most) {
      counts_["passed"] += static_cast<std::int64_t>(answers.size() - most);
      answers.resize(most);
    }
    counts_["kept"] += static_cast<std::int64_t>(answers.size());
  }
  return kept;
}

}  // namespace retort
