#include "objective/alignment/span_losses.h"

#include <algorithm>

#include "base/error.h"
#include "objective/fused/linear_loss.h"

namespace retort {

std::shared_ptr<TeacherReading> reading_of(const TermContext& context, const std::string& where) {
  if (context.reading) return context.reading;
  if (context.teacher_model == nullptr)
    throw Error({.where = where + ": name",
                 .found = "no teacher that could read the answers",
                 .expected = "a teacher's folder; traces do not do",
                 .advice = ""});
  std::int64_t vocab = context.teacher_model->config().vocab_size;
  if (context.student != nullptr) vocab = std::min(vocab, context.student->vocab_size);
  if (context.real_vocab > 0) vocab = context.real_vocab;
  return std::make_shared<TeacherReading>(*context.teacher_model, vocab);
}

at::Tensor span_losses(const StepView& view, const TeacherReading& reading, const SpanRows& rows,
                       std::unique_ptr<LogitTerm> term) {
  std::vector<Weighted<LogitTerm>> terms;
  terms.push_back({std::move(term), 1});
  const at::Tensor hidden = view.student_output.target_rows(view.batch);
  return fused_linear_loss({.student_hidden = hidden.index_select(0, rows.student_rows),
                            .student_head = view.student.head_weight(),
                            .teacher_hidden = rows.teacher_hidden,
                            .teacher_head = reading.teacher().head_weight(),
                            .labels = rows.student_tokens,
                            .weights = rows.weights,
                            .real_vocab = reading.student_vocab(),
                            .teacher_vocab = reading.teacher_vocab()},
                           terms)
      .total;
}

at::Tensor no_loss(const StepView& view) {
  return view.student_output.hidden.slice(0, 0, 0).to(at::kFloat).sum();
}

}  // namespace retort
