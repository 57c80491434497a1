// Opens what `train` and `distill` learn with: student, teacher, traces.
#pragma once

#include <functional>

#include "cli/learn.h"
#include "data/batch_source.h"
#include "data/tokenizer.h"
#include "formats/trace_store.h"
#include "objective/alignment/teacher_reading.h"
#include "training/teachers.h"

namespace retort {

// The student's folder, or a new model's tokenizer.
std::filesystem::path tokenizer_folder(const LearnOptions& options);

// From options.model, or new from options.config. Throws Error.
CausalLM make_student(const LearnOptions& options, const Tokenizer& tokenizer);

// options.teacher, or the list options.teachers, without gradients; null when there are none. On `sample` it
// is measured what options.teacher_encoding changes. Throws Error naming the key, and when a tokenizer
// differs from the student's.
std::unique_ptr<Teachers> open_teachers(const LearnOptions& options, const Tokenizer& tokenizer,
                                        const std::function<std::vector<Batch>()>& sample);

// Throws Error unless all examples have traces: a run does not find out in its third hour.
void require_traces(const TraceStore& store, const ExampleStore& examples, const std::string& where);
// Traces of this data by this teacher, all of them. Null when none are asked for.
std::shared_ptr<const TraceStore> open_traces(const LearnOptions& options, const Tokenizer& tokenizer,
                                              const ExampleStore& examples);

// What a teacher with a tokenizer and chat template of its own reads of the same records; null for one with
// the student's tokenizer.
std::shared_ptr<TeacherReading> open_reading(const LearnOptions& options, const Tokenizer& tokenizer,
                                             const CausalLM& student, const CausalLM& teacher,
                                             const ExampleStore& examples);

}  // namespace retort
