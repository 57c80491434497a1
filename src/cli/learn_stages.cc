#include "cli/learn_stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "cli/learn_data.h"
#include "data/trace_reading.h"
#include "objective/alignment/cka.h"
#include "objective/registry.h"
#include "training/alarms.h"
#include "training/on_policy.h"
#include "training/term_schedules.h"

namespace retort {
namespace {

constexpr std::int64_t kSampleTargets = 1024;  // positions on which terms look at both models before training

// The objective of a recipe: its own terms, or `alpha` of forward KL and the rest of cross entropy.
Json default_terms(const LearnOptions& options, bool distill) {
  if (!options.terms.is_null()) return options.terms;
  const Json smoothing = options.label_smoothing;
  if (!distill) return Json::array({{{"name", "cross_entropy"}, {"label_smoothing", smoothing}}});
  if (options.alpha < 0 || options.alpha > 1)
    throw Error({.where = "alpha",
                 .found = fmt::format("{}", options.alpha),
                 .expected = "a share between 0 and 1",
                 .advice = ""});
  Json terms = Json::array();
  if (options.alpha > 0) {
    terms.push_back({{"name", "forward_kl"}, {"weight", options.alpha}});
    // Traces have been recorded at a temperature of their own.
    if (options.traces.empty() || options.temperature != LearnOptions().temperature)
      terms.back()["temperature"] = options.temperature;
  }
  if (options.alpha < 1)
    terms.push_back(
        {{"name", "cross_entropy"}, {"weight", 1 - options.alpha}, {"label_smoothing", smoothing}});
  return terms;
}

OnPolicyOptions read_on_policy(const Json& given, const std::string& where) {
  OnPolicyOptions options;
  if (given.is_null()) {
    options.share = 0;
    return options;
  }
  OptionList list;
  options.visit(list);
  list.assign(given, where);
  list.check(where);
  options.check(where);
  return options;
}

bool has_term(const StageOptions& stage, std::string_view name) {
  return std::any_of(stage.terms.begin(), stage.terms.end(),
                     [&](const Json& term) { return term.at("name").get<std::string>() == name; });
}

// Whether terms look at the teacher by spans of text; they know one teacher alone.
bool looks_at_spans(const StageOptions& stage) {
  const auto rows = term_registry();
  return std::any_of(rows.begin(), rows.end(),
                     [&](const TermRow& row) { return row.across_tokenizers && has_term(stage, row.name); });
}

// What several teachers do not go together with.
void check_teachers(const LearnOptions& options, const StageOptions& stage) {
  if (!options.teachers.is_array()) return;
  const bool by_file = std::any_of(options.teachers.begin(), options.teachers.end(), [](const Json& item) {
    return item.is_object() && item.contains("weight") && item.at("weight").is_array();
  });
  if (by_file && !stage.data.empty())
    throw Error({.where = "teachers: weight",
                 .found = "weights for the run's files, and stage '" + stage.name + "' with its own",
                 .expected = "one weight for each teacher, or the run's data in every stage",
                 .advice = ""});
  if (options.teachers.size() > 1 && looks_at_spans(stage))
    throw Error({.where = "teachers",
                 .found = "several, and span_kl or uld, which look at one alone",
                 .expected = "one teacher for these terms",
                 .advice = ""});
}

void require_own_words(const Objective& objective, const OnPolicyOptions& on_policy,
                       const LearnOptions& options, const std::string& where) {
  if (on_policy.share == 0) return;
  if (!options.traces.empty())
    throw Error({.where = where,
                 .found = "traces, which hold the data's own answers alone",
                 .expected = "a live teacher for what the student writes",
                 .advice = ""});
  if (!objective.compares())
    throw Error({.where = where,
                 .found = "no term that compares with a teacher",
                 .expected = "one, such as generalized_jsd: the student's own words are no labels",
                 .advice = ""});
}

}  // namespace

void StageOptions::visit(OptionList& list) {
  list.add("name", name, "");
  list.add("share", share, "");
  list.add("steps", steps, "");
  list.add("epochs", epochs, "");
  list.add("terms", terms, "");
  list.add("elastic", elastic, "");
  list.add("on_policy", on_policy, "");
  list.add("train", train, "");
  list.add("data", data, "");
  list.add("mixture", mixture, "");
  list.add("mixture_temperature", mixture_temperature, "");
}

std::vector<StageOptions> read_stages(const LearnOptions& options, bool distill) {
  std::vector<StageOptions> stages;
  if (options.stages.is_null()) {
    stages.emplace_back();
  } else if (!options.stages.is_array() || options.stages.empty()) {
    throw Error({.where = "stages",
                 .found = options.stages.is_array() ? "an empty list" : options.stages.dump(),
                 .expected = "a list of stages, each with terms and a share, steps or epochs",
                 .advice = ""});
  } else {
    std::set<std::string> names;
    for (std::size_t i = 0; i < options.stages.size(); ++i) {
      const std::string where = fmt::format("stages[{}]", i);
      StageOptions stage;
      OptionList list;
      stage.visit(list);
      list.assign(options.stages[i], where);
      if (!(stage.epochs >= 0 && std::isfinite(stage.epochs)))
        throw Error({.where = where + ": epochs",
                     .found = fmt::format("{}", stage.epochs),
                     .expected = "0 or more",
                     .advice = ""});
      if (stage.name.empty()) stage.name = fmt::format("stage {}", i + 1);
      if (!names.insert(stage.name).second)
        throw Error({.where = where + ": name",
                     .found = "'" + stage.name + "' a second time",
                     .expected = "another for each stage",
                     .advice = ""});
      stages.push_back(std::move(stage));
    }
  }
  for (StageOptions& stage : stages) {
    if (stage.terms.is_null()) stage.terms = default_terms(options, distill);
    if (stage.elastic.is_null()) stage.elastic = options.elastic;
    if (stage.on_policy.is_null()) stage.on_policy = options.on_policy;
  }
  return stages;
}

LearnStages::LearnStages(const LearnOptions& options, bool distill, const Dataset& dataset,
                         const LoadData& load, TermContext context, const CausalLM& student)
    : options_(options), dataset_(dataset) {
  std::vector<StageOptions> given = read_stages(options, distill);
  for (const StageOptions& stage : given)
    if (!stage.data.empty() && !own_data_.contains(stage.data))
      own_data_.emplace(stage.data, load(stage.data));
  make_plan(given);
  context.parameters = std::make_shared<std::map<std::string, at::Tensor>>();
  for (StageOptions& stage : given) {
    const std::string where = options.stages.is_null() ? "" : "stage '" + stage.name + "': ";
    Opened opened;
    opened.controls.push_back(take_term_schedules(stage.terms, where + "terms"));
    opened.controls.push_back(make_elastic_mix(stage.elastic, where + "elastic"));
    std::erase(opened.controls, nullptr);
    context.sample = [&store = examples(stage.data), tokens = options.trainer.batch_tokens] {
      return sample_batches(store, tokens, kSampleTargets);
    };
    opened.objective = std::make_unique<Objective>(make_objective(stage.terms, where + "terms", context));
    // Once before the run: a term that is missing is missed now.
    for (const auto& control : opened.controls)
      control->before_step(first_place(stage, opened_.size()), *opened.objective);
    require_own_words(*opened.objective, read_on_policy(stage.on_policy, where + "on_policy"), options,
                      where + "on_policy");
    check_teachers(options, stage);
    const bool traced = has_term(stage, "forward_kl");
    if (!stage.data.empty()) {
      if (traced && context.traces) require_traces(*context.traces, examples(stage.data), where + "data");
      if (context.reading && looks_at_spans(stage) && context.reading->aligned(examples(stage.data)) == 0)
        throw Error({.where = where + "data",
                     .found = "no example with the same answers to the teacher",
                     .expected = "answers that both models' chat templates write",
                     .advice = ""});
    }
    opened.source = open_source(stage, opened_.size(), student, traced ? context.traces : nullptr);
    opened.options = std::move(stage);
    opened_.push_back(std::move(opened));
  }
}

void LearnStages::make_plan(const std::vector<StageOptions>& stages) {
  TrainerOptions& trainer = options_.trainer;
  std::vector<StageLength> lengths;
  bool own = false;
  for (const StageOptions& stage : stages) {
    std::int64_t steps = stage.steps;
    if (stage.epochs > 0) {
      const auto tokens = static_cast<double>(examples(stage.data).total_tokens());
      const auto step_tokens = static_cast<double>(trainer.batch_tokens * trainer.accumulation);
      steps = std::max<std::int64_t>(1, std::llround(stage.epochs * tokens / step_tokens));
    }
    lengths.push_back({.name = stage.name, .share = stage.share, .steps = steps});
    own |= steps > 0;
  }
  const bool given = trainer.steps > 0 || trainer.tokens > 0 || trainer.epochs > 0;
  const std::int64_t steps = given || !own ? resolve_steps(trainer, dataset_.train.total_tokens()) : 0;
  plan_ = std::make_unique<StagePlan>(lengths, steps, options_.rounds, "stages");
  trainer.steps = plan_->steps();
}

StepPlace LearnStages::first_place(const StageOptions& stage, std::size_t index) const {
  StepPlace place;
  for (const StagePlan::Visit& visit : plan_->visits())
    if (visit.stage == index) place.steps = plan_->place(visit.begin).steps;
  const double tokens =
      static_cast<double>(place.steps * options_.trainer.batch_tokens * options_.trainer.accumulation);
  place.epochs = tokens / static_cast<double>(std::max<std::int64_t>(1, examples(stage.data).total_tokens()));
  return place;
}

const ExampleStore& LearnStages::examples(const std::vector<std::string>& files) const {
  return files.empty() ? dataset_.train : own_data_.at(files).train;
}

// Stages that read the same text in the same way go on where the one before has stopped.
BatchSource* LearnStages::open_source(const StageOptions& stage, std::size_t index, const CausalLM& student,
                                      std::shared_ptr<const TraceStore> traces) {
  const OnPolicyOptions on_policy = read_on_policy(stage.on_policy, "on_policy");
  const bool own = !stage.data.empty(),
             mixes = !stage.mixture.is_null() || !stage.mixture_temperature.is_null();
  const std::string key = fmt::format("{} {} {} {}", Json(stage.data).dump(), mixes ? stage.name : "",
                                      traces != nullptr, on_policy.share > 0 ? stage.on_policy.dump() : "");
  std::unique_ptr<BatchSource>& source = sources_[key];
  if (source) return source.get();
  TrainerOptions trainer = options_.trainer;
  MixtureOptions mixture;
  if (mixes) {
    trainer.steps = first_place(stage, index).steps;  // its schedules follow the stage, all rounds together
    mixture = {.weights = stage.mixture, .temperature = stage.mixture_temperature};
  } else if (!own) {
    mixture = options_.mixture;
  }
  const ExampleStore& store = examples(stage.data);
  source = pack_examples(store,
                         packing_of(trainer, mixture, store, (own ? stage.data : options_.data.data).size()));
  if (traces) source = attach_traces(std::move(source), std::move(traces));
  source = prefetch(std::move(source));
  if (on_policy.share > 0)
    source = write_on_policy(std::move(source), student, on_policy, trainer.batch_tokens,
                             static_cast<std::uint64_t>(trainer.seed));
  return source.get();
}

std::vector<BatchSource*> LearnStages::run_sources() const {
  std::vector<BatchSource*> readers;
  for (const Opened& opened : opened_)
    if (opened.options.data.empty() &&
        std::find(readers.begin(), readers.end(), opened.source) == readers.end())
      readers.push_back(opened.source);
  if (readers.empty())
    throw Error({.where = "mixture_adapt",
                 .found = "stages with data of their own",
                 .expected = "one that reads the run's",
                 .advice = ""});
  return readers;
}

std::vector<TrainStage> LearnStages::stages() const {
  std::vector<TrainStage> stages;
  for (const Opened& opened : opened_) {
    TrainStage stage{.name = opened.options.name,
                     .objective = opened.objective.get(),
                     .source = opened.source,
                     .controls = {},
                     .epoch_tokens = examples(opened.options.data).total_tokens(),
                     .train = opened.options.train};
    for (const auto& control : opened.controls) stage.controls.push_back(control.get());
    stages.push_back(std::move(stage));
  }
  return stages;
}

}  // namespace retort
