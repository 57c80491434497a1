// What changes between steps: temperatures and weights on a schedule, alarms and what they do. The trainer
// asks its controls before and after each step and knows none by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/metrics_sink.h"
#include "objective/objective.h"

namespace retort {

struct StepPlace {
  std::int64_t step = 0, steps = 0;  // this one, from 0, and how many there are
  double epoch = 0;                  // passes over the training data so far
  double epochs = 0;                 // in the whole run; 0: the data has no end
};

// What a step gave, on the host: asked for only when a control wants it, for on a GPU it costs a wait.
struct StepFigures {
  double loss = 0;                      // Σ_k λ_k term_k per target token
  double gradient_norm = 0;             // before clipping
  std::map<std::string, double> terms;  // per target token, without λ
};

// What a control asks of the trainer.
struct StepAction {
  double rate_factor = 1;  // multiplies the learning rate from now on
  double clip = 0;         // of the gradient norm from now on; 0: as it is
  bool roll_back = false;  // to the last good snapshot of weights and optimizer; data goes on
};

class StepControl {
 public:
  virtual ~StepControl() = default;
  virtual void before_step(const StepPlace&, Objective&) {}
  virtual bool wants_figures() const { return false; }
  virtual StepAction after_step(const StepPlace&, const StepFigures&, Objective&) { return {}; }
  // Logits fp32 [C, V] of some target positions of the step's first micro-batch, for controls that hold an
  // entropy.
  virtual bool wants_logits() const { return false; }
  virtual void see_logits(const at::Tensor& student, const at::Tensor& teacher) {}
  // True when it may ask for roll_back: the trainer then keeps snapshots.
  virtual bool may_roll_back() const { return false; }
  // Present values for the log, by name.
  virtual std::vector<Metric> metrics() const { return {}; }
  virtual Json state() const { return nullptr; }
  virtual void restore(const Json&) {}
};

}  // namespace retort
