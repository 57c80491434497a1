// Which stage of a run trains at which step. Stages follow one another, each with its own terms, data and
// trained parameters; several rounds go through all of them again (two stages that alternate).
#pragma once

#include <string>
#include <vector>

#include "training/control.h"

namespace retort {

// How long a stage is: a share of the run, steps, or (both 0) an equal part of it.
struct StageLength {
  std::string name;
  double share = 0;
  std::int64_t steps = 0;  // of one round
};

class StagePlan {
 public:
  struct Visit {
    std::size_t stage = 0;
    std::int64_t begin = 0, end = 0;  // steps of the run
    std::int64_t before = 0;          // steps that the stage had in earlier rounds
  };

  // `steps` of the whole run; 0: the sum of the stages' own. Shares end at round(share · steps), exactly.
  // Throws Error when lengths are mixed, do not add up, or leave a stage without a step.
  StagePlan(const std::vector<StageLength>& lengths, std::int64_t steps, std::int64_t rounds,
            const std::string& where);
  // One stage.
  explicit StagePlan(std::int64_t steps) : visits_{{.stage = 0, .begin = 0, .end = steps, .before = 0}} {}

  std::int64_t steps() const { return visits_.back().end; }
  const std::vector<Visit>& visits() const { return visits_; }
  const Visit& at(std::int64_t step) const;
  // How far the stage of this step has come, all its rounds together: what its schedules follow.
  StepPlace place(std::int64_t step) const;

 private:
  std::vector<Visit> visits_;
};

}  // namespace retort
