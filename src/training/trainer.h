// The training loop: batches in, optimizer steps out. It knows no method by name: what is learned is the
// Objective's matter, where text comes from the BatchSource's, what happens on the side the callbacks'.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics_sink.h"
#include "data/batch_source.h"
#include "objective/objective.h"
#include "training/adamw.h"
#include "training/control.h"
#include "training/schedule.h"
#include "training/stage_plan.h"
#include "training/teachers.h"

namespace retort {

struct TrainerOptions {
  std::int64_t steps = 0;            // optimizer steps; 0: from tokens, else from epochs
  std::int64_t tokens = 0;           // prompt + target tokens to train on
  double epochs = 0;                 // passes over the training examples
  std::int64_t batch_tokens = 4096;  // per micro-batch
  std::int64_t accumulation = 1;     // micro-batches an optimizer step
  double learning_rate = 1e-3, min_learning_rate = 0;
  std::string schedule = "cosine";
  double warmup = 0.05;  // share of all steps when < 1, else steps
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  double clip = 1.0;   // global gradient norm; 0: none
  Json rates;          // [{parameters: PATTERN, factor: 16}, …]: learning rates of their own; null: none
  Json dropout = 0.0;  // a number or a schedule
  bool checkpoint_activations = false;
  std::int64_t validate_every = 0;  // steps; 0: at the end only
  std::int64_t patience = 0;        // validations without a better one that end the run; 0: none do
  double save_seconds = 60;         // between checkpoints; 0: none but at Ctrl-C
  std::int64_t log_every = 10;
  std::int64_t seed = 0;
  void visit(OptionList& list);
};

struct TrainReport {
  std::int64_t steps = 0, tokens = 0;         // of the whole run, also before a resume
  double seconds = 0, tokens_per_second = 0;  // since this start
  double best_validation = 0;                 // nats per target token
  std::int64_t best_step = 0;
  std::int64_t skipped_steps = 0;  // whose gradient was not finite
  bool stopped = false;            // by Ctrl-C: a checkpoint was written
};

struct TrainerCallbacks {
  // Lower is better (nats per target token); the best model so far is kept. Metrics come back for the log.
  // Empty: the last weights are the result.
  std::function<double(const CausalLM&, std::vector<Metric>&)> validate;
  // Called after every step with what was done and a note (the loss) for a progress bar.
  std::function<void(std::int64_t step, std::int64_t steps, const std::string& note)> progress;
  // Alarms: asked before and after every step, after the stage's own controls. They outlive the run.
  std::vector<StepControl*> controls;
  // Of one pass over the training data, for schedules by epoch; 0: one endless epoch.
  std::int64_t epoch_tokens = 0;
  // Opens the sinks once it is known how many steps were done before this start; the next record is of a
  // later one.
  std::function<std::vector<std::unique_ptr<MetricsSink>>(std::int64_t steps_done)> open_sinks;
};

// Throws Error naming the first option out of its range.
void check(const TrainerOptions& options);
// options.rates. Throws Error naming the key.
std::vector<RateRule> rate_rules(const TrainerOptions& options);
// options.steps from tokens or epochs, given the training examples' total tokens. Throws Error when none of
// them is set.
std::int64_t resolve_steps(const TrainerOptions& options, std::int64_t tokens_per_epoch);

// A part of a run: what is learned, from what text, by which parameters. What is pointed to outlives the run;
// stages may share a source, and with terms of one label their learned parameters.
struct TrainStage {
  std::string name = {};
  Objective* objective = nullptr;
  BatchSource* source = nullptr;
  // Schedules of its terms: asked with the stage's own steps as place.
  std::vector<StepControl*> controls = {};
  // Of one pass over its data, for its schedules by epoch; 0: the run's.
  std::int64_t epoch_tokens = 0;
  // Patterns as freeze() takes them: of the parameters that learn at all, those that do in this stage. Empty:
  // all.
  std::vector<std::string> train = {};
};

class Trainer {
 public:
  // `run_folder` holds checkpoints/; `fingerprint` (options, data, models) must equal a checkpoint's for it
  // to be resumed. options.steps must be set: see resolve_steps.
  Trainer(TrainerOptions options, std::filesystem::path run_folder, std::string fingerprint);

  // Trains `student` in place, from the newest checkpoint if there is one; on return it holds the best
  // weights. `teachers` may be null when no objective needs one. plan.steps() must be options.steps.
  TrainReport run(CausalLM& student, Teachers* teachers, const std::vector<TrainStage>& stages,
                  const StagePlan& plan, const TrainerCallbacks& callbacks);
  // One stage, one teacher or none.
  TrainReport run(CausalLM& student, const CausalLM* teacher, BatchSource& source, Objective& objective,
                  const TrainerCallbacks& callbacks);

 private:
  TrainerOptions options_;
  std::filesystem::path run_folder_;
  std::string fingerprint_;
};

}  // namespace retort
