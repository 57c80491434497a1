#include "objective/alignment/layer_term.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "objective/alignment/cka.h"

namespace retort {
namespace {

std::vector<LayerPair> pairs_of(const LayerTermOptions& options, const std::string& where,
                                const TermContext& context) {
  auto pairs =
      read_layer_map(options.layers, layer_counts(context, where), /*lowest=*/-1, where + ": layers");
  const LayerPair embeddings{-1, -1};
  if (options.embeddings && std::find(pairs.begin(), pairs.end(), embeddings) == pairs.end())
    pairs.insert(pairs.begin(), embeddings);
  return pairs;
}

// As it is where the widths are equal, else normal of variance 1 / H_S: lengths stay about the same. A
// function of seed and name.
at::Tensor new_projection(std::int64_t teacher_width, std::int64_t student_width, const std::string& name,
                          const TermContext& context) {
  at::Tensor values;
  if (teacher_width == student_width) {
    values = at::eye(teacher_width);
  } else {
    values = at::empty({teacher_width, student_width});
    Random random(context.seed, hash64(name));
    const double deviation = 1 / std::sqrt(static_cast<double>(student_width));
    float* out = values.data_ptr<float>();
    for (std::int64_t i = 0; i < values.numel(); ++i)
      out[i] = static_cast<float>(deviation * random.normal());
  }
  return values.to(context.device).requires_grad_();
}

// Per pair of layers: must a projection stand between them?
std::vector<bool> choose_projections(const HiddenTermOptions& options, const std::vector<LayerPair>& pairs,
                                     const std::string& where, const TermContext& context) {
  const std::int64_t student_width = context.student->hidden_size,
                     teacher_width = context.teacher->hidden_size;
  const bool differ = student_width != teacher_width;
  if (options.projection == "never" && differ)
    throw Error(
        {.where = where + ": projection",
         .found = fmt::format("never, and hidden states of {} and {} channels", student_width, teacher_width),
         .expected = "auto or always where widths differ",
         .advice = ""});
  std::vector<bool> chosen(pairs.size(), differ || options.projection == "always");
  const bool may_look =
      context.student_model != nullptr && context.teacher_model != nullptr && context.sample;
  if (differ || options.projection != "auto" || options.cka_threshold == 0 || !may_look) return chosen;
  const std::vector<Batch> sample = context.sample();
  const std::vector<double> cka =
      compare_pairs(*context.student_model, *context.teacher_model, pairs, {sample});
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    chosen[i] = cka[i] < options.cka_threshold;
    log_info("{}: layer {} of the student and {} of the teacher have a CKA of {:.2f}{}", context.label,
             pairs[i].student, pairs[i].teacher, cka[i],
             chosen[i] ? fmt::format(", below {}: a learned projection is put between them",
                                     Json(options.cka_threshold).dump())
                       : ": compared as they are");
  }
  return chosen;
}

}  // namespace

void LayerTermOptions::visit(OptionList& list) {
  list.add("layers", layers, "uniform; last: 3; 6-9 or [4, 7, 10] of the teacher; [[student, teacher], …]");
  list.add("embeddings", embeddings, "the input embeddings too");
  positions.visit(list);
}

LayerCounts layer_counts(const TermContext& context, const std::string& where) {
  if (context.student == nullptr || context.teacher == nullptr)
    throw Error({.where = where,
                 .found = "no models",
                 .expected = "a student and a teacher whose layers can be paired",
                 .advice = ""},
                ErrorKind::failure);
  return {static_cast<int>(context.student->num_hidden_layers()),
          static_cast<int>(context.teacher->num_hidden_layers())};
}

LayerTerm::LayerTerm(const LayerTermOptions& options, const std::string& where, const TermContext& context)
    : pairs_(pairs_of(options, where, context)), weights_(options.positions, where, context) {}

Taps LayerTerm::student_taps() const {
  Taps taps;
  for (const LayerPair& pair : pairs_) taps.hidden.push_back(pair.student);
  return taps;
}

Taps LayerTerm::teacher_taps() const {
  Taps taps;
  for (const LayerPair& pair : pairs_) taps.hidden.push_back(pair.teacher);
  return taps;
}

LossSum LayerTerm::compute(const StepView& view) {
  const Positions positions = weights_(view.batch);
  at::Tensor sum;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const at::Tensor student = view.student_output.hidden_taps.at(pairs_[i].student);
    const at::Tensor teacher = view.teacher_output->hidden_taps.at(pairs_[i].teacher);
    const at::Tensor one = pair_sum(i, student.index_select(0, positions.index),
                                    teacher.index_select(0, positions.index), positions);
    sum = sum.defined() ? sum + one : one;
  }
  return {(sum / static_cast<double>(pairs_.size())).to(at::kFloat), view.batch.weight_sum};
}

void HiddenTermOptions::visit(OptionList& list) {
  layers.visit(list);
  list.add("projection", projection,
           "of the student's states, learned: auto, where widths differ or CKA is low; always; never")
      .choices = {"auto", "always", "never"};
  list.add("cka_threshold", cka_threshold, "below this CKA of a pair of layers, auto puts in a projection");
}

namespace {

// By layers: stages whose terms share a label and a pair go on with one projection.
std::string projection_name(const std::string& label, const LayerPair& pair) {
  return fmt::format("{}.projection.{}:{}", label, pair.student, pair.teacher);
}

}  // namespace

HiddenTerm::HiddenTerm(const HiddenTermOptions& options, const std::string& where, const TermContext& context)
    : LayerTerm(options.layers, where, context), label_of_parameters_(context.label) {
  if (!(options.cka_threshold >= 0 && options.cka_threshold <= 1))
    throw Error({.where = where + ": cka_threshold",
                 .found = Json(options.cka_threshold).dump(),
                 .expected = "a number from 0 to 1",
                 .advice = ""});
  const std::vector<bool> chosen = choose_projections(options, pairs(), where, context);
  projections_.resize(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i)
    if (chosen[i]) {
      const std::string name = projection_name(context.label, pairs()[i]);
      projections_[i] = shared_parameter(
          context, name,
          new_projection(context.teacher->hidden_size, context.student->hidden_size, name, context), where);
    }
}

std::vector<Parameter> HiddenTerm::parameters() {
  std::vector<Parameter> all;
  for (std::size_t i = 0; i < projections_.size(); ++i)
    if (projections_[i].defined())
      all.push_back({projection_name(label_of_parameters_, pairs()[i]), projections_[i]});
  return all;
}

at::Tensor HiddenTerm::pair_sum(std::size_t pair, const at::Tensor& student, const at::Tensor& teacher,
                                const Positions& positions) const {
  const at::Tensor& projection = projections_[pair];
  const at::Tensor mine =
      projection.defined() ? at::linear(student, projection.to(student.scalar_type())) : student;
  return distance(mine.to(at::kFloat), teacher.to(at::kFloat)).dot(positions.weights);
}

}  // namespace retort
