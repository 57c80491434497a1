// Watches a run and acts when it goes wrong. In a recipe:
//   alarms:
//     - {when: gradient_norm_above, value: 100, action: cut_rate, factor: 0.5}
//     - {when: loss_diverges, value: 0.3, action: roll_back}
// when:   gradient_norm_above, gradient_norm_below (value: the norm before clipping),
//         loss_not_finite, loss_above (value: per target token),
//         loss_diverges (the loss's moving average over 10 steps exceeds that over 100 by more than `value`,
//         a share)
// action: set_weight {term, to}, scale_temperature {term, factor, minimum: 2, maximum: 5}, clip {to},
//         cut_rate {factor}, roll_back (to the last good snapshot of weights and optimizer), none (only the
//         log)
// After it has gone off an alarm rests for `rest` steps (default 50). Every time is logged.
#pragma once

#include <memory>

#include "training/control.h"

namespace retort {

// Throws Error naming the key, also for a term that none of `objectives` (of all stages) can change so; a
// stage that lacks it only says so in the log. Null for null or an empty list.
std::unique_ptr<StepControl> make_alarms(const Json& alarms, const std::string& where,
                                         const std::vector<Objective*>& objectives);

// The teacher's share of a mix of two terms, from how the student does (elastic distillation):
//   {soft: forward_kl, hard: cross_entropy, low: 0.5, high: 0.9, smoothing: 0.98}
// soft weight = low + (high - low) · d / (d + h), hard weight = 1 - soft, with d the student's disagreement
// with the teacher (the soft term) and h its loss on the labels (the hard term), both moving averages per
// target token: who has caught up with the teacher learns more from the labels. Null for null.
std::unique_ptr<StepControl> make_elastic_mix(const Json& options, const std::string& where);

}  // namespace retort
