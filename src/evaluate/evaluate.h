// Judges any LanguageModel on answers that it has not seen: the same code for teacher, student and a quantized student.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "architecture/language_model.h"
#include "data/chat_template.h"
#include "data/record_source.h"
#include "data/tokenizer.h"
#include "evaluate/metrics/bleu.h"
#include "evaluate/metrics/bootstrap.h"
#include "evaluate/metrics/rouge.h"

namespace retort {

struct EvaluateOptions {
  std::int64_t limit = 0;             // pairs, 0 = all
  std::int64_t max_tokens = 256;      // of an answer
  std::int64_t batch_size = 64;       // prompts generated together
  std::int64_t latency_samples = 20;  // answers made one at a time for median and 99th percentile latency; 0 = none
  std::string bleu_tokenize = "zh";
  std::string rouge_unit = "character";
  bool generate = true;               // false: likelihood only
  void visit(OptionList& list);
};

// What evaluation keeps of each pair, enough to compare two models by paired bootstrap later.
struct JudgedPair {
  std::string source, reference, hypothesis;
  BleuCounts bleu;
  double rouge_1 = 0, rouge_2 = 0, rouge_l = 0;
  double negative_log_likelihood = 0;  // nats, over the answer's tokens and the end token
  std::int64_t target_tokens = 0, reference_chars = 0;
};

struct Evaluation {
  std::vector<JudgedPair> pairs;
  double bleu4 = 0, rouge_1 = 0, rouge_2 = 0, rouge_l = 0;
  Interval bleu4_interval, nats_per_char_interval;
  double nats_per_token = 0, nats_per_char = 0, perplexity = 0;
  double tokens_per_second = 0;            // generated, batched
  double latency_median_ms = 0, latency_p99_ms = 0;
  std::uint64_t peak_memory_bytes = 0;
  std::string bleu_signature;
  SkipReport skipped;

  Json to_json() const;  // figures without the pairs
};

// Records that are not a user message and an answer are skipped and counted.
Evaluation evaluate_model(LanguageModel& model, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                          RecordSource& records, const EvaluateOptions& options);
// The trivial answer: the input copied (no likelihood).
Evaluation evaluate_copy(RecordSource& records, const EvaluateOptions& options);
// Texts that any program wrote, line by line.
Evaluation evaluate_texts(const std::filesystem::path& hypotheses, const std::filesystem::path& references,
                          const EvaluateOptions& options);

// Paired bootstrap of (a - b) on the same pairs. Throws Error when the pairs differ.
struct Comparison {
  Interval bleu4, nats_per_char, rouge_l;
};
Comparison compare(const Evaluation& a, const Evaluation& b);

// One JSON line per pair (source, reference, hypothesis, counts): written with --outputs, read back for comparison.
void write_outputs(const std::filesystem::path& path, const Evaluation& evaluation);
Evaluation read_outputs(const std::filesystem::path& path, const EvaluateOptions& options);

}  // namespace retort
