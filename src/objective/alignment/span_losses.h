// Terms for a teacher with another tokenizer: they compare both models where common spans of the answer's
// text begin (alignment/teacher_reading.h), through one pass of the fused head.
#pragma once

#include "objective/alignment/teacher_reading.h"
#include "objective/registry.h"

namespace retort {

// The context's reading, or one in which the teacher reads the student's own tokens. Throws Error without a
// teacher.
std::shared_ptr<TeacherReading> reading_of(const TermContext& context, const std::string& where);

// Σ over spans of w · term, w the weight of the span's first target; differentiable in the student.
at::Tensor span_losses(const StepView& view, const TeacherReading& reading, const SpanRows& rows,
                       std::unique_ptr<LogitTerm> term);

// 0, as a part of the graph: for a micro-batch without spans.
at::Tensor no_loss(const StepView& view);

}  // namespace retort
