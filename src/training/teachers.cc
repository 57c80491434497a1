#include "training/teachers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "objective/fused/linear_loss.h"
#include "objective/terms/cross_entropy.h"

namespace retort {
namespace {

PanelWeights panel_weights(TeacherChoice choice) {
  return choice == TeacherChoice::confidence ? PanelWeights::confidence
         : choice == TeacherChoice::entropy  ? PanelWeights::entropy
                                             : PanelWeights::given;
}

// The sequence of each target, in order.
std::vector<std::size_t> sequences_of_targets(const Batch& batch) {
  std::vector<std::size_t> sequences;
  for (std::size_t s = 0; s + 1 < batch.sequence_starts.size(); ++s)
    for (std::int32_t i = batch.sequence_starts[s]; i < batch.sequence_starts[s + 1]; ++i)
      if (batch.targets[static_cast<std::size_t>(i)] != kNoTarget) sequences.push_back(s);
  return sequences;
}

// fp32 [T]: a teacher's weight at each target.
at::Tensor weights_at_targets(const Teacher& teacher, const DeviceBatch& batch) {
  if (teacher.weights.size() == 1) return at::full_like(batch.weights, teacher.weights.front());
  std::vector<float> weights;
  for (const std::size_t s : sequences_of_targets(*batch.host)) {
    const auto source = static_cast<std::size_t>(batch.host->sources[s]);
    if (source >= teacher.weights.size())
      throw Error({.where = "teachers: weight",
                   .found = fmt::format("{} weights", teacher.weights.size()),
                   .expected = fmt::format("one for each data file, {} at least", source + 1),
                   .advice = ""});
    weights.push_back(static_cast<float>(teacher.weights[source]));
  }
  return send(weights, batch.weights.device());
}

}  // namespace

Teachers::Teachers(std::vector<Teacher> teachers, TeacherChoice choice)
    : teachers_(std::move(teachers)), choice_(choice) {
  for (const Teacher& teacher : teachers_) {
    averages_.emplace_back();
    if (teacher.average == 0) continue;
    for (const Parameter& parameter : teacher.model->parameters())
      averages_.back().push_back(parameter.tensor.detach().to(at::kFloat, false, /*copy=*/true));
  }
}

Teachers Teachers::of(const CausalLM& teacher) {
  return Teachers({{.model = std::shared_ptr<const CausalLM>(std::shared_ptr<void>(), &teacher)}});
}

TeacherOutputs Teachers::look(const DeviceBatch& batch, const Taps& taps, const CausalLM& student,
                              const ModelOutput& student_output) const {
  const at::NoGradGuard no_grad;
  const ForwardOptions forward{.targets_only = true};
  TeacherOutputs outputs;
  if (teachers_.size() == 1) {
    outputs.first = first().forward(batch, taps, forward);
    return outputs;
  }
  outputs.panel.by = panel_weights(choice_);
  if (chooses()) {
    if (!taps.empty())
      throw Error({.where = "teachers",
                   .found = "terms on layers, and a teacher chosen for each sequence",
                   .expected = "terms on logits",
                   .advice = "Mix the teachers by weight, confidence or entropy instead."});
    const std::vector<std::size_t> choice = choose(batch, student, student_output);
    for (std::size_t k = 0; k < teachers_.size(); ++k)
      outputs.panel.members.push_back(chosen_rows(k, choice, batch));
    return outputs;
  }
  for (std::size_t k = 0; k < teachers_.size(); ++k) {
    ModelOutput output = teachers_[k].model->forward(batch, k == 0 ? taps : Taps{}, forward);
    outputs.panel.members.push_back({.model = teachers_[k].model.get(),
                                     .rows = output.target_rows(batch),
                                     .weights = weights_at_targets(teachers_[k], batch)});
    if (k == 0) outputs.first = std::move(output);
  }
  return outputs;
}

std::vector<std::size_t> Teachers::choose(const DeviceBatch& batch, const CausalLM& student,
                                          const ModelOutput& student_output) const {
  const Batch& host = *batch.host;
  const std::vector<std::size_t> sequence = sequences_of_targets(host);
  const std::size_t count = host.sequence_starts.size() - 1;
  std::vector<double> difficulty(count, 0), targets(count, 0);
  if (choice_ == TeacherChoice::prompt_length) {
    for (std::size_t s = 0; s < count; ++s)
      for (std::int32_t i = host.sequence_starts[s]; i < host.sequence_starts[s + 1]; ++i, ++difficulty[s])
        if (host.targets[static_cast<std::size_t>(i)] != kNoTarget) break;
    // The position that predicts the first target is the prompt's.
    for (double& length : difficulty) ++length;
  } else {
    std::vector<Weighted<LogitTerm>> terms;
    terms.push_back({std::make_unique<CrossEntropy>(), 1});
    const at::Tensor losses = fused_linear_loss({.student_hidden = student_output.target_rows(batch).detach(),
                                                 .student_head = student.head_weight().detach(),
                                                 .teacher_hidden = {},
                                                 .teacher_head = {},
                                                 .labels = batch.labels,
                                                 .weights = batch.weights},
                                                terms)
                                  .values[0]
                                  .to(at::kCPU)
                                  .contiguous();
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      difficulty[sequence[i]] += static_cast<double>(losses.data_ptr<float>()[i]);
      ++targets[sequence[i]];
    }
    for (std::size_t s = 0; s < count; ++s) difficulty[s] /= std::max(1.0, targets[s]);
  }
  std::vector<std::size_t> choice(count, teachers_.size() - 1);
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t k = teachers_.size() - 1; k-- > 0;)
      if (difficulty[s] <= teachers_[k].up_to) choice[s] = k;
  return choice;
}

// The teacher reads its own sequences alone.
PanelMember Teachers::chosen_rows(std::size_t teacher, const std::vector<std::size_t>& choice,
                                  const DeviceBatch& batch) const {
  const Batch& host = *batch.host;
  Batch mine;
  for (std::size_t s = 0; s < choice.size(); ++s) {
    if (choice[s] != teacher) continue;
    const auto begin = host.sequence_starts[s], end = host.sequence_starts[s + 1];
    const auto append = [&](auto& to, const auto& from) {
      to.insert(to.end(), from.begin() + begin, from.begin() + end);
    };
    append(mine.tokens, host.tokens);
    append(mine.targets, host.targets);
    append(mine.weights, host.weights);
    append(mine.positions, host.positions);
    mine.sequence_starts.push_back(static_cast<std::int32_t>(mine.tokens.size()));
    mine.example_ids.push_back(host.example_ids[s]);
    mine.sources.push_back(host.sources[s]);
  }
  const CausalLM& model = *teachers_[teacher].model;
  std::vector<std::int64_t> rows;
  std::vector<float> weights;
  for (const std::size_t s : sequences_of_targets(host)) {
    if (choice[s] == teacher) rows.push_back(static_cast<std::int64_t>(weights.size()));
    weights.push_back(choice[s] == teacher ? 1.0f : 0.0f);
  }
  PanelMember member{
      .model = &model,
      .rows = at::zeros({static_cast<std::int64_t>(weights.size()), model.config().hidden_size},
                        model.head_weight().options().requires_grad(false)),
      .weights = send(weights, model.device())};
  if (!rows.empty()) {
    const DeviceBatch here = upload(mine, model.device());
    const ModelOutput output = model.forward(here, {}, {.targets_only = true});
    member.rows.index_copy_(0, send(rows, model.device()), output.target_rows(here));
  }
  return member;
}

void Teachers::fill(StepView& view, const TeacherOutputs& outputs) const {
  view.teacher = &first();
  view.teacher_output = &outputs.first;
  if (!outputs.panel.members.empty()) view.panel = &outputs.panel;
}

at::Tensor Teachers::logits(const DeviceBatch& batch, const TeacherOutputs& outputs,
                            const at::Tensor& targets) const {
  if (outputs.panel.members.empty())
    return first().logits(outputs.first.target_rows(batch).index_select(0, targets));
  TeacherPanel some{.members = {}, .by = outputs.panel.by};
  std::int64_t vocab = first().head_weight().size(0);
  for (const PanelMember& member : outputs.panel.members) {
    vocab = std::min(vocab, member.model->head_weight().size(0));
    some.members.push_back({.model = member.model,
                            .rows = member.rows.index_select(0, targets),
                            .weights = member.weights.index_select(0, targets)});
  }
  return mix_teachers(some, batch.labels.index_select(0, targets), 0, vocab);
}

void Teachers::follow(const CausalLM& student) {
  const at::NoGradGuard no_grad;
  for (std::size_t k = 0; k < teachers_.size(); ++k) {
    for (std::size_t i = 0; i < averages_[k].size(); ++i) {
      const at::Tensor now = student.parameters()[i].tensor.detach().to(at::kFloat);
      averages_[k][i].lerp_(now, 1 - teachers_[k].average);
      teachers_[k].model->parameters()[i].tensor.detach().copy_(averages_[k][i]);
    }
  }
}

std::vector<std::pair<std::string, at::Tensor>> Teachers::state() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t k = 0; k < teachers_.size(); ++k)
    for (std::size_t i = 0; i < averages_[k].size(); ++i)
      tensors.emplace_back(fmt::format("average.{}.{}", k, teachers_[k].model->parameters()[i].name),
                           averages_[k][i]);
  return tensors;
}

void Teachers::restore(const std::function<at::Tensor(const std::string&)>& read) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, average] : state()) average.copy_(read(name));
  for (std::size_t k = 0; k < teachers_.size(); ++k)
    for (std::size_t i = 0; i < averages_[k].size(); ++i)
      teachers_[k].model->parameters()[i].tensor.detach().copy_(averages_[k][i]);
}

}  // namespace retort
