// The training loop: batches in, optimizer steps out. It knows no method by name: what is learned is the Objective's matter,
// where text comes from the BatchSource's, what happens on the side the callbacks'.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "base/metrics_sink.h"
#include "data/batch_source.h"
#include "objective/objective.h"
#include "training/schedule.h"

namespace retort {

struct TrainerOptions {
  std::int64_t steps = 0;                // optimizer steps; 0: from `tokens`
  std::int64_t tokens = 0;               // prompt + target tokens to train on, when steps is 0
  std::int64_t batch_tokens = 4096;      // per micro-batch
  std::int64_t accumulation = 1;         // micro-batches an optimizer step
  double learning_rate = 1e-3, min_learning_rate = 0;
  std::string schedule = "cosine";
  double warmup = 0.05;                  // share of all steps when < 1, else steps
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  double clip = 1.0;                     // global gradient norm; 0: none
  double dropout = 0;
  bool checkpoint_activations = false;
  std::string precision = "auto";        // fp32, bf16 (fp32 master weights), fp16 (CUDA, dynamic loss scale), auto
  std::int64_t validate_every = 0;       // steps; 0: at the end only
  std::int64_t save_every = 0;           // steps between checkpoints; 0: on time (see save_seconds)
  double save_seconds = 60;
  std::int64_t log_every = 10;
  std::int64_t seed = 0;
  void visit(OptionList& list);
};

struct TrainReport {
  std::int64_t steps = 0, tokens = 0;
  double seconds = 0, tokens_per_second = 0;
  double best_validation = 0;
  std::int64_t best_step = 0;
  bool stopped = false;                  // by Ctrl-C: a checkpoint was written
};

struct TrainerCallbacks {
  // Lower is better (nats per target token); the best model so far is kept. Metrics come back for the log.
  std::function<double(const CausalLM&, std::vector<Metric>&)> validate;
  std::vector<MetricsSink*> sinks;
};

class Trainer {
 public:
  // `run_folder` holds checkpoints/; `fingerprint` (recipe, data, models) must equal a checkpoint's for it to be resumed.
  Trainer(TrainerOptions options, std::filesystem::path run_folder, std::string fingerprint);

  // Trains `student` in place, from the newest checkpoint if there is one; on return it holds the best weights. `teacher` may
  // be null when the objective needs none.
  TrainReport run(CausalLM& student, const CausalLM* teacher, BatchSource& source, Objective& objective,
                  const TrainerCallbacks& callbacks);

 private:
  TrainerOptions options_;
  std::filesystem::path run_folder_;
  std::string fingerprint_;
};

}  // namespace retort
