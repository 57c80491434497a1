// The list of loss terms, by the names that recipes use.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string_view>
#include <variant>

#include "base/options.h"
#include "data/tokenizer.h"
#include "formats/trace_store.h"
#include "objective/term.h"

namespace retort {

class TeacherReading;

// What a term may know when it is made: projections between hidden states take their sizes and place from
// here, and what depends on how the models behave is found out on a sample. All of it is as the run began,
// also when it goes on after a kill. Null or empty: not known.
struct TermContext {
  const ModelConfig* student = nullptr;
  const ModelConfig* teacher = nullptr;
  const CausalLM* student_model = nullptr;
  const CausalLM* teacher_model = nullptr;
  std::function<std::vector<Batch>()> sample = {};  // some training data
  const Tokenizer* tokenizer = nullptr;
  std::string label = {};  // of the term that is being made; parameters are named after it
  at::Device device = at::kCPU;
  std::uint64_t seed = 0;
  std::int64_t real_vocab = 0;                         // tokens of the tokenizer; 0: unknown
  std::shared_ptr<const TraceStore> traces = nullptr;  // in place of the teacher, for terms that can
  // Learned parameters of terms made before, by name: in another stage a term of the same label goes on with
  // them. Null: every term has its own.
  std::shared_ptr<std::map<std::string, at::Tensor>> parameters = nullptr;
  std::shared_ptr<TeacherReading> reading = nullptr;  // of a teacher whose tokenizer is not the student's
};

// The parameter of this name that a stage before has made, or `made`, which is remembered. Throws Error when
// the shapes differ.
at::Tensor shared_parameter(const TermContext& context, const std::string& name, at::Tensor made,
                            const std::string& where);

using MakeLogitTerm = std::unique_ptr<LogitTerm> (*)(const Json& options, const std::string& where,
                                                     const TermContext&);
using MakeTerm = std::unique_ptr<Term> (*)(const Json& options, const std::string& where, const TermContext&);

// Sets a term's own options. The keys of every term (name, label, weight) are known too, so that a misspelt
// one is answered with the nearest of all. Throws Error.
void assign_term_options(OptionList& own, const Json& options, const std::string& where);
template <class Options>
void read_term_options(Options& parsed, const Json& options, const std::string& where) {
  OptionList list;
  parsed.visit(list);
  assign_term_options(list, options, where);
}

// Logs, parameters and schedules tell two terms of one name apart by label: the one given, else the name,
// numbered from the second on. Adds it to those taken. Throws Error when it is taken.
std::string take_label(const Json& item, std::set<std::string>& taken, const std::string& where);

struct TermRow {
  std::string_view name;
  std::string_view help;
  std::variant<MakeLogitTerm, MakeTerm> make;
  bool needs_teacher = true;       // of a Term; a LogitTerm says it itself
  bool across_tokenizers = false;  // the teacher may have a tokenizer of its own
};

std::span<const TermRow> term_registry();

}  // namespace retort
