// Opens what `train` and `distill` learn with: student, teacher, traces.
#pragma once

#include "cli/learn.h"
#include "data/batch_source.h"
#include "data/tokenizer.h"
#include "formats/trace_store.h"

namespace retort {

// The student's folder, or a new model's tokenizer.
std::filesystem::path tokenizer_folder(const LearnOptions& options);

// From options.model, or new from options.config. Throws Error.
CausalLM make_student(const LearnOptions& options, const Tokenizer& tokenizer);

// Without gradients. Throws Error when its tokenizer differs from the student's.
std::unique_ptr<CausalLM> open_teacher(const LearnOptions& options, const Tokenizer& tokenizer);

// Traces of this data by this teacher, all of them: a run does not find out in its third hour. Null when none
// are asked for.
std::shared_ptr<const TraceStore> open_traces(const LearnOptions& options, const Tokenizer& tokenizer,
                                              const ExampleStore& examples);

}  // namespace retort
