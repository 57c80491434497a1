// Whom a student learns from: one model, several whose distributions are mixed, or a moving average of the
// student itself.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "objective/term.h"

namespace retort {

struct Teacher {
  std::shared_ptr<const CausalLM> model;
  std::vector<double> weights = {1};  // one, or one for each data file (Example::source)
  // 0: as it is. Else, after each step, θ = average · θ + (1 - average) · θ_student: the student's own past
  // (mean teacher, Tarvainen & Valpola 2017).
  double average = 0;
  double up_to = std::numeric_limits<double>::infinity();  // difficulty, where that chooses the teacher
};

// How several become one: mixed by PanelWeights, or each sequence gets the first teacher whose `up_to` is not
// below its difficulty: the prompt's length in tokens, or the student's own loss per target token.
enum class TeacherChoice { weight, confidence, entropy, prompt_length, student_loss };

// What they say of a micro-batch. Moves break nothing: views of it are made by fill().
struct TeacherOutputs {
  ModelOutput first;
  TeacherPanel panel;  // empty members: there is one teacher
};

class Teachers {
 public:
  explicit Teachers(std::vector<Teacher> teachers, TeacherChoice choice = TeacherChoice::weight);
  // One that lives elsewhere.
  static Teachers of(const CausalLM& teacher);

  const CausalLM& first() const { return *teachers_.front().model; }
  // Taps are of the first teacher; terms on layers want one that sees every sequence (Error otherwise).
  TeacherOutputs look(const DeviceBatch& batch, const Taps& taps, const CausalLM& student,
                      const ModelOutput& student_output) const;
  // Adds what look() gave to a step's view; `outputs` outlives it.
  void fill(StepView& view, const TeacherOutputs& outputs) const;
  // Logits of the single teacher, or log p of the mixture, at some targets (int64 indices): fp32 [n, V].
  at::Tensor logits(const DeviceBatch& batch, const TeacherOutputs& outputs, const at::Tensor& targets) const;

  // After an optimizer step: moves the averages.
  void follow(const CausalLM& student);
  // The averages, for checkpoints.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  void restore(const std::function<at::Tensor(const std::string& name)>& read);

 private:
  bool chooses() const {
    return choice_ == TeacherChoice::prompt_length || choice_ == TeacherChoice::student_loss;
  }
  // Per sequence: which teacher it gets.
  std::vector<std::size_t> choose(const DeviceBatch& batch, const CausalLM& student,
                                  const ModelOutput& student_output) const;
  PanelMember chosen_rows(std::size_t teacher, const std::vector<std::size_t>& choice,
                          const DeviceBatch& batch) const;

  std::vector<Teacher> teachers_;
  TeacherChoice choice_;
  std::vector<std::vector<at::Tensor>> averages_;  // per teacher that has one: fp32, in parameters()' order
};

}  // namespace retort
