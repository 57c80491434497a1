// A teacher that reads the same text with a tokenizer and chat template of its own. Answers are cut into
// spans at the boundaries that both tokenizations have: there teacher and student have read the same text and
// are about to say the same.
#pragma once

#include <unordered_map>

#include "data/batch_source.h"
#include "objective/alignment/text_spans.h"
#include "objective/term.h"

namespace retort {

// The B spans of a micro-batch. Without any, the tensors are empty.
struct SpanRows {
  at::Tensor student_rows;    // int64 [B]: of the student's targets, the one that begins the span
  at::Tensor student_tokens;  // int64 [B]: that target
  at::Tensor weights;         // fp32 [B]: its weight
  at::Tensor teacher_hidden;  // [B, H_T]: from which the teacher predicts the span's first token
  at::Tensor teacher_tokens;  // int64 [B]: that token
  at::Tensor teacher_rest;    // fp32 [B]: log p_T of the span's other tokens, summed
  at::Tensor whole;  // int64 [B]: place among the shared tokens of the one whose text is the span's; -1: none
  at::Tensor later_rows;    // int64 [L]: the student's targets within spans,
  at::Tensor later_tokens;  // int64 [L]: their tokens,
  at::Tensor later_spans;   // int64 [L]: and spans
  std::int64_t count() const { return student_rows.numel(); }
};

// Tokens within spans beyond the first, and the hidden states [L, H] that predict them.
struct LaterTokens {
  at::Tensor hidden, head, tokens, spans;
  std::int64_t vocab = 0;
};
// Σ log p of the tokens of each span, fp32 [spans], without a graph.
at::Tensor log_rest(const LaterTokens& later, std::int64_t spans);

class TeacherReading {
 public:
  // Texts as token_texts() gives them, no more than the models' heads have rows. Throws Error when no text is
  // in both. `examples`: the teacher's, of the student's records; found by Example::id. The teacher outlives
  // this.
  TeacherReading(const CausalLM& teacher, std::vector<std::string> student_texts,
                 std::vector<std::string> teacher_texts, ExampleStore examples);
  // A teacher that reads the student's own tokens, of which there are `vocab`: every token is a span.
  TeacherReading(const CausalLM& teacher, std::int64_t vocab);

  // Runs the teacher, once for all terms that ask about one micro-batch. Examples that the teacher does not
  // have, or whose answers are another text to it, have no spans.
  const SpanRows& read(const StepView& view);

  // How many of the student's examples have spans.
  std::int64_t aligned(const ExampleStore& student) const;

  const CausalLM& teacher() const { return teacher_; }
  std::int64_t student_vocab() const { return static_cast<std::int64_t>(student_texts_.size()); }
  std::int64_t teacher_vocab() const { return static_cast<std::int64_t>(teacher_texts_.size()); }
  // Tokens that both vocabularies have, as pairs (student, teacher).
  const std::vector<std::pair<TokenId, TokenId>>& shared() const { return shared_; }

 private:
  struct Aligned {
    Example own;
    std::vector<TextSpan> spans;  // of targets, counted through the example
  };
  std::optional<Aligned> align(const Example& student) const;
  void align_batch(const StepView& view);  // fills rows_, but for the weights
  std::int64_t shared_place(const std::vector<TokenId>& tokens) const;

  const CausalLM& teacher_;
  std::vector<std::string> student_texts_, teacher_texts_;
  bool same_tokens_ = false;
  ExampleStore examples_;
  std::unordered_map<std::uint64_t, std::int64_t> places_;  // in examples_, by id
  std::vector<std::pair<TokenId, TokenId>> shared_;
  std::unordered_map<std::string_view, std::int64_t> shared_places_;  // by text
  std::vector<TokenId> read_tokens_, read_targets_;                   // of the micro-batch in rows_
  SpanRows rows_;
};

}  // namespace retort
