// Judges any LanguageModel on answers that it has not seen: the same code for teacher, student and a
// quantized student.
#pragma once

#include <filesystem>
#include <functional>
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

enum class EvaluatePhase { likelihood, generation, latency };
// Pairs done of those in the phase.
using EvaluateProgress = std::function<void(EvaluatePhase phase, std::int64_t done, std::int64_t total)>;

struct EvaluateOptions {
  std::int64_t limit = 0;         // pairs, 0 = all
  std::int64_t max_tokens = 256;  // of an answer
  std::int64_t batch_size = 64;   // prompts generated together
  // Answers made one at a time for median and 99th percentile latency; 0 = none.
  std::int64_t latency_samples = 20;
  std::string bleu_tokenize = "zh";
  std::string rouge_unit = "character";
  bool generate = true;  // false: likelihood only
  void visit(OptionList& list);

  EvaluateProgress progress = {};        // may be empty; not an option of the user's
  std::function<bool()> cancelled = {};  // nor is this: asked now and then, true ends the evaluation
};

// What evaluation keeps of each pair, enough to compare two models by paired bootstrap later.
struct JudgedPair {
  std::string source, reference, hypothesis;
  BleuCounts bleu;
  double rouge_1 = 0, rouge_2 = 0, rouge_l = 0;  // F1, 0 … 1
  double negative_log_likelihood = 0;            // nats, over the answer's tokens and the end token
  std::int64_t target_tokens = 0, reference_chars = 0;
};

struct Evaluation {
  std::vector<JudgedPair> pairs;
  bool has_answers = false;     // hypotheses exist: BLEU and ROUGE mean something
  bool has_likelihood = false;  // nats and perplexity do

  double bleu4 = 0;                              // of the corpus, 0 … 100
  double rouge_1 = 0, rouge_2 = 0, rouge_l = 0;  // mean over pairs, 0 … 1
  Interval bleu4_interval, rouge_l_interval, nats_per_char_interval;
  double nats_per_token = 0, nats_per_char = 0, perplexity = 0;  // perplexity = exp(nats_per_token)
  double tokens_per_second = 0;                                  // generated, batched
  double latency_median_ms = 0, latency_p99_ms = 0;  // of a whole answer generated alone; 0 = not measured
  std::uint64_t peak_memory_bytes = 0;  // resident, of the process while it judged; 0 = not measured
  std::string bleu_signature, bleu_tokenize, rouge_unit;
  SkipReport skipped;
  bool stopped = false;  // by EvaluateOptions::cancelled: there are no figures

  // The figures without the pairs; what was not measured is left out. Intervals are "NAME_interval": [low,
  // high].
  Json to_json() const;
};

// Skipped and counted: lines that the source could not read, records that are not one user message and one
// answer (a system message may precede), empty answers, pairs that the template refuses, and pairs longer
// than the model's context. An answer ends at the model's end tokens or at the token that ends the references
// in the model's format. Throws Error when no pair is left.
Evaluation evaluate_model(LanguageModel& model, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                          RecordSource& records, const EvaluateOptions& options);
// The trivial answer: the input copied (no likelihood).
Evaluation evaluate_copy(RecordSource& records, const EvaluateOptions& options);
// Texts that any program wrote, line by line. Throws Error when the files differ in their number of lines.
Evaluation evaluate_texts(const std::filesystem::path& hypotheses, const std::filesystem::path& references,
                          const EvaluateOptions& options);

// Paired bootstrap of (a - b) on the pairs that both sides judged, found in the order of their common file (a
// model skips what is longer than its context, copying does not); an interval that excludes_zero() is a
// difference to believe. Figures that one side lacks stay 0. Throws Error when no pair is common.
struct Comparison {
  std::size_t pairs = 0;
  Interval bleu4, nats_per_char, rouge_l;
};
Comparison compare(const Evaluation& a, const Evaluation& b);

// One JSON line per pair: source, reference, hypothesis, counts, scores, likelihood.
void write_outputs(const std::filesystem::path& path, const Evaluation& evaluation);
// Counts and scores are made anew from the texts with these options, so that a file with only reference and
// hypothesis, from any program, is read too.
Evaluation read_outputs(const std::filesystem::path& path, const EvaluateOptions& options);

}  // namespace retort
