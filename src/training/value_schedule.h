// A number that changes during a run: a temperature, a weight.
#pragma once

#include "training/control.h"

namespace retort {

// In a recipe a number, or one of
//   {schedule: linear, from: 4, to: 1}                        over the whole run
//   {schedule: cosine, from: 4, to: 1}                        the same along half a cosine
//   {schedule: exponential, from: 4, rate: 0.005}             from · e^(-rate · t)
//   {schedule: exponential, from: 2, factor: 0.98}            from · factor^t
//   {schedule: halving, from: 3, every: 10}                   halved every so many t
// where t counts steps (per: step) or whole epochs (per: epoch); exponential counts steps and halving epochs
// when nothing is said. `minimum` (default 0) bounds all of them from below. linear and cosine may have
//   last: 3                                                   `from` until the last 3 epochs, or steps
//                                                             (per: step)
struct ValueSchedule {
  enum class Kind { linear, cosine, exponential, halving };
  Kind kind = Kind::linear;
  double from = 1, to = 1;
  double factor = 1;  // of exponential: what a unit of time multiplies by
  double every = 1;   // of halving
  bool per_epoch = false;
  double minimum = 0;
  double last = 0;  // of linear and cosine: how long before the end they begin; 0: at the start

  // Throws Error when `last` counts epochs and the data has none.
  double at(const StepPlace& place) const;
  double first() const;
};

// Throws Error naming the key.
ValueSchedule parse_value_schedule(const Json& json, const std::string& where);
// The same, or a number for the whole run.
ValueSchedule parse_value(const Json& json, const std::string& where);

}  // namespace retort
