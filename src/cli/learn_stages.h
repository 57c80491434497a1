// The stages of `train` and `distill`: their terms, data, trained parameters and lengths, out of the recipe's
// `stages`; without any, the whole run is one.
#pragma once

#include <map>
#include <memory>

#include "cli/learn.h"
#include "objective/objective.h"
#include "training/trainer.h"

namespace retort {

struct StageOptions {
  std::string name;
  double share = 0, epochs = 0;
  std::int64_t steps = 0;
  Json terms, elastic, on_policy;     // null: the run's
  Json mixture, mixture_temperature;  // both null: the run's; as many as there are, of the stage's own files
  std::vector<std::string> train, data;  // empty: all that learns, the run's data
  void visit(OptionList& list);
};

// Throws Error naming the key; steps and epochs stay as they are given.
std::vector<StageOptions> read_stages(const LearnOptions& options, bool distill);

// Loads a stage's own data files.
using LoadData = std::function<Dataset(const std::vector<std::string>& files)>;

class LearnStages {
 public:
  // `dataset` (the run's data) outlives this; `context` is complete but for what differs between stages.
  // Throws Error, also for what a later stage would find missing.
  LearnStages(const LearnOptions& options, bool distill, const Dataset& dataset, const LoadData& load,
              TermContext context, const CausalLM& student);

  const StagePlan& plan() const { return *plan_; }
  std::vector<TrainStage> stages() const;
  // That read the run's data, each once, for whoever weighs its files. Throws Error when no stage does.
  std::vector<BatchSource*> run_sources() const;

 private:
  struct Opened {
    StageOptions options;
    std::vector<std::unique_ptr<StepControl>> controls;
    std::unique_ptr<Objective> objective;
    BatchSource* source = nullptr;
  };
  const ExampleStore& examples(const std::vector<std::string>& files) const;
  void make_plan(const std::vector<StageOptions>& stages);
  // Of the stage at its first step.
  StepPlace first_place(const StageOptions& stage, std::size_t index) const;
  BatchSource* open_source(const StageOptions& stage, std::size_t index, const CausalLM& student,
                           std::shared_ptr<const TraceStore> traces);

  LearnOptions options_;  // trainer.steps is the plan's
  const Dataset& dataset_;
  std::map<std::vector<std::string>, Dataset> own_data_;
  // By data, how it is drawn and on-policy options.
  std::map<std::string, std::unique_ptr<BatchSource>> sources_;
  std::vector<Opened> opened_;
  std::unique_ptr<StagePlan> plan_;
};

}  // namespace retort
