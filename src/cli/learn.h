// What `train` and `distill` share: a student, its data, an objective, a run folder.
#pragma once

#include <string>

#include "cli/adapter_options.h"
#include "cli/compute.h"
#include "cli_edge/verb.h"
#include "data/dataset.h"
#include "training/mixture.h"
#include "training/trainer.h"

namespace retort {

struct LearnOptions {
  std::string model;      // the folder to start from
  Json config;            // or the config.json of a new model with random weights
  std::string tokenizer;  // its tokenizer's folder
  std::string teacher;    // distillation only, as is
  std::string traces;     // what was recorded of it
  std::string out;
  bool overwrite = false;
  std::string save_dtype = "auto";
  std::int64_t tokens_if_slow = 0;
  Json terms, alarms, elastic, on_policy;
  Json stages;
  std::int64_t rounds = 1;
  Json teachers;
  std::string teachers_by = "weight", teacher_encoding = "none";
  double teacher_kl_limit = 0.01;
  double alpha = 0.9, temperature = 1, label_smoothing = 0;
  DatasetOptions data;
  MixtureOptions mixture;
  TrainerOptions trainer;
  AdapterOptions adapter;
  ComputeOptions compute;

  void visit(OptionList& list, bool distill);
  // Throws Error naming the first option out of its range, or missing.
  void check(bool distill) const;
  // Models and data files named inside structured options.
  std::vector<std::string> nested_inputs() const;
  // Data files of stages that have their own.
  std::vector<std::string> stage_files() const;
};

// Trains and writes out/model, out/metrics.jsonl, TensorBoard events, out/log.txt and out/train.json; goes on
// after a kill. Returns the figures in train.json.
Json learn(const LearnOptions& options, bool distill);

}  // namespace retort
