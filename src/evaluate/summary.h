// From judged pairs to an evaluation's figures: what evaluating a model, a file of texts and a comparison
// share.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "evaluate/evaluate.h"

namespace retort {

// Unicode code points.
std::int64_t count_chars(std::string_view text);
// Fills BLEU counts, ROUGE and reference_chars of one pair from its texts.
void judge_texts(JudgedPair& pair, const EvaluateOptions& options);
// Corpus figures and intervals of evaluation.pairs. Throws Error when there are none.
void summarize(Evaluation& evaluation, const EvaluateOptions& options);

// Corpus scores of a resample (or of all pairs).
double corpus_bleu4(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices);
double corpus_nats_per_char(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices);
double mean_rouge_l(const std::vector<JudgedPair>& pairs, std::span<const std::int32_t> indices);  // 0 … 1

}  // namespace retort
