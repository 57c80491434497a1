// Temperatures and weights of loss terms that a recipe gives as a schedule instead of a number.
#pragma once

#include <memory>

#include "training/control.h"

namespace retort {

// Takes the schedules out of a recipe's terms and leaves their first values there. The `minimum` of a
// temperature is 0.1 when none above 0 is given. Besides what ValueSchedule knows, a temperature may be
//   {schedule: entropy, from: 2, low: 3.5, high: 4.2, minimum: 1, maximum: 5, of: teacher, step: 0.02}
// which multiplies or divides it by 1 + step after each step whose softened distribution (the teacher's, or
// the student's) has an entropy in nats outside the band. Null when there are no schedules. Throws Error
// naming the key.
std::unique_ptr<StepControl> take_term_schedules(Json& terms, const std::string& where);

}  // namespace retort
