// A model writes answers to questions: several each, of which the best that pass are kept (rejection
// sampling; sequence-level distillation, Kim & Rush 2016, and the road of DeepSeek-R1's distilled models: a
// student needs nothing of its teacher but text).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "architecture/language_model.h"
#include "data/answer_filter.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "evaluate/answer_check.h"

namespace retort {

struct WriterOptions {
  std::int64_t best_of = 1, keep = 1;
  std::string rank = "likelihood", check = "none", check_pattern = {};
  double judge_above = 0;  // mean log-probability; 0: no bound
  AnswerFilterOptions filter = {};
  GenerateOptions generate{.max_tokens = 256, .temperature = 0};
  void visit(OptionList& list);
  // Throws Error naming the key.
  void validate() const;
};

struct ModelView {
  LanguageModel* model = nullptr;
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;
};

// Messages up to where the assistant is to speak; `reference` is empty when there is none.
struct OpenQuestion {
  std::vector<Message> messages;
  std::string reference;
};

struct WrittenAnswer {
  std::string text;
  double likelihood = 0;  // mean log-probability of its tokens under the writer
  double judged = 0;      // under the judge
  double nearness = 0;    // of rank: reference (Kim & Rush 2016, §3.3): its BLEU-4 with the data's answer
};

class AnswerWriter {
 public:
  // `judge.model` is null unless options.rank is "judge" or judge_above is set.
  AnswerWriter(const ModelView& writer, const ModelView& judge, const WriterOptions& options);

  // The kept answers of each question, the best first; draws are a function of options.generate.seed, `block`
  // and the question's place in it.
  std::vector<std::vector<WrittenAnswer>> write(const std::vector<OpenQuestion>& questions,
                                                std::uint64_t block);
  // Answers so far by what became of them: "kept", "passed" (but others were better), "wrong", "unfinished",
  // and AnswerFilter's reasons; "question too long".
  const std::map<std::string, std::int64_t>& counts() const { return counts_; }

 private:
  void judge(const OpenQuestion& question, std::vector<WrittenAnswer>& answers) const;

  ModelView writer_, judge_;
  WriterOptions options_;
  AnswerFilter filter_;
  AnswerCheck check_;
  std::map<std::string, std::int64_t> counts_;
};

}  // namespace retort
