#include "objective/alignment/teacher_reading.h"

#include "base/error.h"
#include "objective/fused/linear_loss.h"
#include "objective/terms/cross_entropy.h"

namespace retort {
namespace {

// Targets that follow one another: an answer.
struct Answer {
  std::vector<TokenId> tokens;
  std::int64_t first = 0;  // its first target's number in the example
};

std::vector<Answer> answers_of(const Example& example) {
  std::vector<Answer> answers;
  std::int64_t targets = 0;
  for (std::size_t i = 1; i < example.tokens.size(); ++i) {
    if (example.is_target[i] == 0) continue;
    if (example.is_target[i - 1] == 0 || answers.empty()) answers.push_back({{}, targets});
    answers.back().tokens.push_back(example.tokens[i]);
    ++targets;
  }
  return answers;
}

std::vector<TokenId> targets_of(const Example& example) {
  std::vector<TokenId> targets;
  for (const Answer& answer : answers_of(example))
    targets.insert(targets.end(), answer.tokens.begin(), answer.tokens.end());
  return targets;
}

std::vector<std::string_view> texts_of(const std::vector<TokenId>& tokens,
                                       const std::vector<std::string>& texts) {
  std::vector<std::string_view> pieces;
  for (const TokenId token : tokens) pieces.push_back(texts.at(static_cast<std::size_t>(token)));
  return pieces;
}

// A sequence of a batch as the example that it was.
Example example_of(const Batch& batch, std::int64_t sequence) {
  const auto s = static_cast<std::size_t>(sequence);
  Example example;
  example.id = batch.example_ids[s];
  for (auto i = static_cast<std::size_t>(batch.sequence_starts[s]);
       i < static_cast<std::size_t>(batch.sequence_starts[s + 1]); ++i) {
    const bool first = example.tokens.empty();
    example.tokens.push_back(batch.tokens[i]);
    example.is_target.push_back(!first && batch.targets[i - 1] != kNoTarget);
  }
  return example;
}

std::vector<std::string> numbers(std::int64_t count) {
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < count; ++i) texts.push_back("#" + std::to_string(i) + ";");
  return texts;
}

}  // namespace

TeacherReading::TeacherReading(const CausalLM& teacher, std::vector<std::string> student_texts,
                               std::vector<std::string> teacher_texts, ExampleStore examples)
    : teacher_(teacher),
      student_texts_(std::move(student_texts)),
      teacher_texts_(std::move(teacher_texts)),
      examples_(std::move(examples)),
      shared_(same_texts(student_texts_, teacher_texts_)) {
  if (shared_.empty())
    throw Error({.where = "teacher",
                 .found = "a vocabulary that shares no text with the student's",
                 .expected = "at least the single bytes",
                 .advice = ""});
  for (std::int64_t i = 0; i < examples_.size(); ++i) places_.emplace(examples_.get(i).id, i);
  for (std::size_t i = 0; i < shared_.size(); ++i)
    shared_places_.emplace(student_texts_[static_cast<std::size_t>(shared_[i].first)], i);
}

TeacherReading::TeacherReading(const CausalLM& teacher, std::int64_t vocab)
    : TeacherReading(teacher, numbers(vocab), numbers(vocab), {}) {
  same_tokens_ = true;
}

std::optional<TeacherReading::Aligned> TeacherReading::align(const Example& student) const {
  Aligned aligned;
  if (same_tokens_) {
    aligned.own = student;
  } else {
    const auto found = places_.find(student.id);
    if (found == places_.end()) return std::nullopt;
    aligned.own = examples_.get(found->second);
  }
  const std::vector<Answer> ours = answers_of(student), theirs = answers_of(aligned.own);
  if (ours.size() != theirs.size()) return std::nullopt;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto spans =
        common_spans(texts_of(ours[i].tokens, student_texts_), texts_of(theirs[i].tokens, teacher_texts_));
    if (!spans) return std::nullopt;
    for (TextSpan span : *spans) {
      span.a_begin += ours[i].first;
      span.b_begin += theirs[i].first;
      aligned.spans.push_back(span);
    }
  }
  return aligned;
}

std::int64_t TeacherReading::aligned(const ExampleStore& student) const {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < student.size(); ++i) count += align(student.get(i)).has_value();
  return count;
}

std::int64_t TeacherReading::shared_place(const std::vector<TokenId>& tokens) const {
  std::string text;
  for (const std::string_view piece : texts_of(tokens, student_texts_)) text += piece;
  const auto found = shared_places_.find(text);
  return found == shared_places_.end() ? -1 : found->second;
}

const SpanRows& TeacherReading::read(const StepView& view) {
  const Batch& batch = *view.batch.host;
  if (batch.tokens != read_tokens_ || batch.targets != read_targets_ || read_tokens_.empty())
    align_batch(view);
  if (rows_.count() > 0) rows_.weights = view.batch.weights.index_select(0, rows_.student_rows);
  return rows_;
}

void TeacherReading::align_batch(const StepView& view) {
  const Batch& batch = *view.batch.host;
  const at::NoGradGuard no_grad;
  Batch own;
  std::vector<std::int64_t> student_rows, student_tokens, teacher_rows, teacher_tokens, whole;
  std::vector<std::int64_t> later_rows, later_tokens, later_spans, rest_rows, rest_tokens, rest_spans;
  std::int64_t student_first = 0, teacher_first = 0;  // targets of the sequences before
  for (std::int64_t s = 0; s < batch.sequence_count(); ++s) {
    const Example student = example_of(batch, s);
    const std::vector<TokenId> targets = targets_of(student);
    if (const auto aligned = targets.empty() ? std::nullopt : align(student)) {
      const std::vector<TokenId> own_targets = targets_of(aligned->own);
      for (const TextSpan& span : aligned->spans) {
        const auto index = static_cast<std::int64_t>(student_rows.size());
        const auto a = targets.begin() + span.a_begin;
        student_rows.push_back(student_first + span.a_begin);
        student_tokens.push_back(*a);
        whole.push_back(shared_place({a, a + span.a_count}));
        for (std::int64_t i = 1; i < span.a_count; ++i) {
          later_rows.push_back(student_first + span.a_begin + i);
          later_tokens.push_back(a[i]);
          later_spans.push_back(index);
        }
        const auto b = own_targets.begin() + span.b_begin;
        teacher_rows.push_back(teacher_first + span.b_begin);
        teacher_tokens.push_back(*b);
        for (std::int64_t i = 1; i < span.b_count; ++i) {
          rest_rows.push_back(teacher_first + span.b_begin + i);
          rest_tokens.push_back(b[i]);
          rest_spans.push_back(index);
        }
      }
      own.append(aligned->own);
      teacher_first += static_cast<std::int64_t>(own_targets.size());
    }
    student_first += static_cast<std::int64_t>(targets.size());
  }
  read_tokens_ = batch.tokens;
  read_targets_ = batch.targets;
  const at::Device device = view.batch.labels.device();
  const auto tensor = [&](const std::vector<std::int64_t>& list) { return send(list, device); };
  rows_ = {};
  rows_.student_rows = tensor(student_rows);
  if (student_rows.empty()) return;
  rows_.student_tokens = tensor(student_tokens);
  rows_.whole = tensor(whole);
  rows_.later_rows = tensor(later_rows);
  rows_.later_tokens = tensor(later_tokens);
  rows_.later_spans = tensor(later_spans);
  rows_.teacher_tokens = tensor(teacher_tokens);
  // [targets, H_T].
  const at::Tensor hidden = teacher_.forward(upload(own, device), {}, {.targets_only = true}).hidden;
  rows_.teacher_hidden = hidden.index_select(0, tensor(teacher_rows));
  rows_.teacher_rest = log_rest({.hidden = hidden.index_select(0, tensor(rest_rows)),
                                 .head = teacher_.head_weight(),
                                 .tokens = tensor(rest_tokens),
                                 .spans = tensor(rest_spans),
                                 .vocab = teacher_vocab()},
                                rows_.count());
}

at::Tensor log_rest(const LaterTokens& later, std::int64_t spans) {
  at::Tensor sums = at::zeros({spans}, later.spans.options().dtype(at::kFloat));
  if (later.tokens.numel() == 0) return sums;
  const at::NoGradGuard no_grad;
  std::vector<Weighted<LogitTerm>> terms;
  terms.push_back({std::make_unique<CrossEntropy>(), 1});
  const LinearLossOutput output = fused_linear_loss({.student_hidden = later.hidden,
                                                     .student_head = later.head.narrow(0, 0, later.vocab),
                                                     .teacher_hidden = {},
                                                     .teacher_head = {},
                                                     .labels = later.tokens,
                                                     .weights = at::ones_like(later.tokens, at::kFloat)},
                                                    terms);
  return sums.index_add_(0, later.spans, output.values[0].neg());
}

}  // namespace retort
