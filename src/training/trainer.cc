// The training loop. Long because all that a run changes and a checkpoint keeps is one struct (Run): what a
// step does to it, how it is saved and how it goes on are read side by side.
#include "training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/machine.h"
#include "model/parameter_pattern.h"
#include "training/adamw.h"
#include "training/checkpoint.h"
#include "training/entropy.h"
#include "training/loss_scale.h"
#include "training/value_schedule.h"

namespace retort {
namespace {

// Sums since the last log record, kept on the device in double so that a step waits for nothing.
struct Window {
  struct Sum {
    at::Tensor value;
    double weight = 0;  // what divides it: Σ w over target positions, or steps
  };
  std::map<std::string, Sum> sums;
  std::int64_t tokens = 0, steps = 0;

  void add(const std::string& name, const at::Tensor& value, double weight) {
    const at::Tensor wide = value.detach().to(at::kDouble);
    auto [place, is_new] = sums.emplace(name, Sum{wide, weight});
    if (is_new) return;
    place->second.value = place->second.value + wide;
    place->second.weight += weight;
  }
  Json to_json() const {
    Json values = Json::object();
    for (const auto& [name, sum] : sums) values[name] = {sum.value.item<double>(), sum.weight};
    return {{"sums", values}, {"tokens", tokens}, {"steps", steps}};
  }
  static Window from_json(const Json& json, at::Device device) {
    Window window;
    for (const auto& [name, pair] : json.at("sums").items())
      window.sums[name] = {at::full({}, number_of(pair.at(0)), at::TensorOptions(device).dtype(at::kDouble)),
                           pair.at(1).get<double>()};
    window.tokens = json.at("tokens").get<std::int64_t>();
    window.steps = json.at("steps").get<std::int64_t>();
    return window;
  }
};

// What the bits of a run depend on besides its recipe.
Json numeric_environment() {
  return {{"cpu", machine().cpu},
          {"instructions", machine().instructions},
          {"threads", at::get_num_threads()},
          {"torch", TORCH_VERSION}};
}

NamedTensors snapshot(const std::vector<Parameter>& parameters) {
  NamedTensors copy;
  for (const Parameter& parameter : parameters)
    copy.emplace_back(parameter.name, parameter.tensor.detach().to(at::kCPU, parameter.tensor.scalar_type(),
                                                                   false, /*copy=*/true));
  return copy;
}

void load_snapshot(const std::vector<Parameter>& parameters, const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  for (const Parameter& parameter : parameters) parameter.tensor.detach().copy_(by_name.at(parameter.name));
}

// Steps between snapshots that an alarm may go back to.
constexpr std::int64_t kSnapshotSteps = 50;

// A control and the place that it is told: its stage's or the run's.
struct PlacedControl {
  StepControl* control;
  StepPlace place;
};

bool any_control(const std::vector<PlacedControl>& controls, bool (StepControl::*asks)() const) {
  return std::any_of(controls.begin(), controls.end(),
                     [&](const PlacedControl& placed) { return (placed.control->*asks)(); });
}

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, tensor] : tensors) out.emplace_back(name, tensor.clone());
  return out;
}

// A tensor by its name, or an Error naming whose it is.
std::function<at::Tensor(const std::string&)> reader_of(const NamedTensors& named, const std::string& where) {
  return [tensors = std::map<std::string, at::Tensor>(named.begin(), named.end()),
          where](const std::string& name) {
    const auto found = tensors.find(name);
    if (found == tensors.end())
      throw Error({.where = where,
                   .found = "no tensor '" + name + "'",
                   .expected = "a checkpoint of this run",
                   .advice = "Delete the folder to start anew."});
    return found->second;
  };
}

// One run's state: what a checkpoint holds and what the loop changes.
struct Run {
  const TrainerOptions& options;
  const TrainerCallbacks& callbacks;
  CausalLM& student;
  Teachers* teachers;
  const std::vector<TrainStage>& stages;
  const StagePlan& plan;
  std::vector<Parameter> learnable;  // of the student, in any stage
  AdamW optimizer;
  LossScale loss_scale;
  RateSchedule rate;
  ValueSchedule dropout;
  Window window;
  std::int64_t step = 0;
  TrainReport report;
  NamedTensors best;
  double dropout_now = 0;                   // of the last step
  double rate_factor = 1, clip = 0;         // what controls have changed; clip 0: as the options say
  NamedTensors good, good_averages;         // of optimizer and teachers, to go back to when a control may
  std::vector<std::int64_t> stage_tokens;   // that each stage has trained on
  std::map<std::string, double> entropies;  // of the last step that looked: nats, softmax(z)
  std::size_t entered = SIZE_MAX;           // the stage whose parameters have gradients now

  const TrainStage& stage() const { return stages[plan.at(step).stage]; }
  StepPlace place_in_run(std::int64_t at_step) const;
  StepPlace place_in_stage(std::int64_t at_step) const;
  StepPlace with_epochs(StepPlace place, std::int64_t tokens, std::int64_t epoch_tokens) const;
  std::vector<PlacedControl> controls_of(std::int64_t at_step) const;
  std::vector<PlacedControl> controls() const { return controls_of(step); }
  double learning_rate(std::int64_t at_step) const { return rate.at(at_step) * rate_factor; }
  void enter_stage();
  void look_at_logits(const DeviceBatch& batch, const ModelOutput& output,
                      const TeacherOutputs* teacher_outputs);
  void after_step(const StepFigures& figures);
  // Micro-batches of one optimizer step; returns Σ w.
  void train_step();
  std::vector<Metric> drain_window(double seconds);
  void save(const std::filesystem::path& run_folder, const std::string& fingerprint) const;
  void restore(const Checkpoint& checkpoint);
};

std::vector<Parameter> learnable_parameters(const CausalLM& student) {
  std::vector<Parameter> all;
  for (const Parameter& parameter : student.parameters())
    if (parameter.tensor.requires_grad()) all.push_back(parameter);
  return all;
}

// The student's, and what terms of any stage learn with it, once each.
std::vector<Parameter> trainable(const std::vector<Parameter>& learnable,
                                 const std::vector<TrainStage>& stages) {
  std::vector<Parameter> all = learnable;
  for (const TrainStage& stage : stages)
    for (const Parameter& parameter : stage.objective->parameters())
      if (std::none_of(all.begin(), all.end(),
                       [&](const Parameter& known) { return known.name == parameter.name; }))
        all.push_back(parameter);
  if (all.empty())
    throw Error(
        {.where = "training", .found = "no trainable parameter", .expected = "at least one", .advice = ""});
  return all;
}

// Where tokens of a pass are not known, epochs stay 0.
StepPlace Run::with_epochs(StepPlace place, std::int64_t tokens, std::int64_t epoch_tokens) const {
  if (epoch_tokens <= 0) return place;
  const double all = static_cast<double>(place.steps * options.accumulation * options.batch_tokens);
  place.epoch = static_cast<double>(tokens) / static_cast<double>(epoch_tokens);
  place.epochs = all / static_cast<double>(epoch_tokens);
  return place;
}

StepPlace Run::place_in_run(std::int64_t at_step) const {
  return with_epochs({.step = at_step, .steps = plan.steps()}, report.tokens, callbacks.epoch_tokens);
}

StepPlace Run::place_in_stage(std::int64_t at_step) const {
  const std::size_t stage = plan.at(at_step).stage;
  const std::int64_t own = stages[stage].epoch_tokens;
  return with_epochs(plan.place(at_step), stage_tokens[stage], own > 0 ? own : callbacks.epoch_tokens);
}

std::vector<PlacedControl> Run::controls_of(std::int64_t at_step) const {
  std::vector<PlacedControl> all;
  for (StepControl* control : stages[plan.at(at_step).stage].controls)
    all.push_back({control, place_in_stage(at_step)});
  for (StepControl* control : callbacks.controls) all.push_back({control, place_in_run(at_step)});
  return all;
}

// Of all stages, before the first step.
void check_patterns(const std::vector<Parameter>& learnable, const std::vector<TrainStage>& stages) {
  for (const TrainStage& stage : stages)
    for (const std::string& pattern : stage.train)
      if (std::none_of(learnable.begin(), learnable.end(),
                       [&](const Parameter& p) { return name_matches(p.name, pattern); }))
        throw Error({.where = "stage '" + stage.name + "': train",
                     .found = "'" + pattern + "', which matches no parameter that learns",
                     .expected = "part of a name such as model.layers.0.mlp.up_proj.weight",
                     .advice = ""});
}

// Gradients on for what the stage trains, and nothing else: what another stage trains keeps its values, its
// moments and its count of steps.
void Run::enter_stage() {
  const std::size_t now = plan.at(step).stage;
  if (now == entered) return;
  entered = now;
  std::set<std::string> active;
  for (const Parameter& parameter : learnable) {
    const std::vector<std::string>& patterns = stages[now].train;
    const bool on = patterns.empty() ||
                    std::any_of(patterns.begin(), patterns.end(),
                                [&](const auto& pattern) { return name_matches(parameter.name, pattern); });
    parameter.tensor.set_requires_grad(on);
    if (on) active.insert(parameter.name);
  }
  for (const Parameter& parameter : stages[now].objective->parameters()) active.insert(parameter.name);
  optimizer.set_active([&](const std::string& name) { return active.contains(name); });
  if (stages.size() > 1) log_info("step {}: stage '{}'.", step + 1, stages[now].name);
}

// Some positions speak for the micro-batch: their logits cost little beside its own.
void Run::look_at_logits(const DeviceBatch& batch, const ModelOutput& output,
                         const TeacherOutputs* teacher_outputs) {
  const bool logs = (step + 1) % options.log_every == 0 || step + 1 == plan.steps();
  const auto asked = controls();
  if (!logs && !any_control(asked, &StepControl::wants_logits)) return;
  if (batch.target_index.size(0) == 0) return;
  const at::NoGradGuard no_grad;
  const at::Tensor places = spread_places(batch.target_index.size(0), student.device());
  const at::Tensor student_logits =
      student.logits(output.target_rows(batch).detach().index_select(0, places));
  at::Tensor teacher_logits;
  if (teacher_outputs != nullptr) teacher_logits = teachers->logits(batch, *teacher_outputs, places);
  for (const PlacedControl& placed : asked)
    if (placed.control->wants_logits()) placed.control->see_logits(student_logits, teacher_logits);
  if (!logs) return;
  entropies.clear();
  entropies["student_entropy"] = mean_entropy(student_logits, 1).item<double>();
  if (teacher_logits.defined()) entropies["teacher_entropy"] = mean_entropy(teacher_logits, 1).item<double>();
}

// Controls see what the step gave and may change what follows.
void Run::after_step(const StepFigures& figures) {
  bool roll_back = false, acted = false;
  const auto asked = controls();
  for (const PlacedControl& placed : asked) {
    const StepAction action = placed.control->after_step(placed.place, figures, *stage().objective);
    rate_factor *= action.rate_factor;
    if (action.clip > 0) optimizer.set_clip(clip = action.clip);
    roll_back |= action.roll_back;
    acted |= action.roll_back || action.rate_factor != 1;
  }
  if (!any_control(asked, &StepControl::may_roll_back)) return;
  if (roll_back && !good.empty()) {
    optimizer.restore(reader_of(good, "snapshot"));
    if (!good_averages.empty()) teachers->restore(reader_of(good_averages, "snapshot"));
  } else if (!acted && (good.empty() || (step + 1) % kSnapshotSteps == 0) && std::isfinite(figures.loss)) {
    good = copies(optimizer.state());
    if (teachers != nullptr) good_averages = copies(teachers->state());
  }
}

void Run::train_step() {
  enter_stage();
  Objective& objective = *stage().objective;
  dropout_now = dropout.at(place_in_run(step));
  for (const PlacedControl& placed : controls()) placed.control->before_step(placed.place, objective);
  double weight = 0;
  std::map<std::string, Window::Sum> sums;  // of this step
  const auto add = [&](const std::string& name, const at::Tensor& value, double of_weight) {
    const auto [here, is_new] = sums.emplace(name, Window::Sum{value.detach(), of_weight});
    if (is_new) return;
    here->second.value = here->second.value + value.detach();
    here->second.weight += of_weight;
  };
  const bool taught = teachers != nullptr && objective.needs_teacher();
  for (std::int64_t micro = 0; micro < options.accumulation; ++micro) {
    const std::optional<Batch> batch = stage().source->next();
    if (!batch)
      throw Error({.where = "training data",
                   .found = "its end before the last step",
                   .expected = "an endless source",
                   .advice = ""});
    const DeviceBatch here = upload(*batch, student.device());
    const std::uint64_t place = static_cast<std::uint64_t>(step * options.accumulation + micro);
    const ForwardOptions forward{.training = true,
                                 .dropout = dropout_now,
                                 .dropout_key = hash64({reinterpret_cast<const char*>(&place), sizeof place},
                                                       static_cast<std::uint64_t>(options.seed)),
                                 .checkpoint_activations = options.checkpoint_activations,
                                 .targets_only = true};
    const ModelOutput output = student.forward(here, objective.student_taps(), forward);
    StepView view{.batch = here, .student = student, .student_output = output, .step = step};
    TeacherOutputs teacher_outputs;
    if (taught) {
      teacher_outputs = teachers->look(here, objective.teacher_taps(), student, output);
      teachers->fill(view, teacher_outputs);
    }
    if (micro == 0) look_at_logits(here, output, taught ? &teacher_outputs : nullptr);
    const ObjectiveResult result = objective.compute(view);
    if (!result.total.sum.requires_grad())
      throw Error({.where = "stage '" + stage().name + "': train",
                   .found = "parameters on which its loss does not depend",
                   .expected = "some on which it does",
                   .advice = ""});
    if (loss_scale.on())
      result.total.sum.backward(loss_scale.scale());
    else
      result.total.sum.backward();
    optimizer.accumulate();
    weight += result.total.weight;
    add("loss", result.total.sum, result.total.weight);
    for (const NamedLoss& term : result.terms) add(term.name, term.sum, result.total.weight);
    window.tokens += here.host->size();
    report.tokens += here.host->size();
    stage_tokens[entered] += here.host->size();
  }
  if (weight <= 0)
    throw Error({.where = "training data",
                 .found = "a step without any target token",
                 .expected = "answers to learn",
                 .advice = ""});
  for (const auto& [name, sum] : sums) window.add(name, sum.value, sum.weight);
  const at::Tensor norm = optimizer.step(learning_rate(step), loss_scale.scale() * weight);
  if (teachers != nullptr) teachers->follow(student);
  loss_scale.update(optimizer.skipped());
  window.add("gradient_norm", norm, 1);
  window.add("skipped_steps", optimizer.skipped(), 1);
  ++window.steps;
  if (any_control(controls(), &StepControl::wants_figures)) {
    StepFigures figures{.loss = 0, .gradient_norm = norm.item<double>(), .terms = {}};
    for (const auto& [name, sum] : sums)
      (name == "loss" ? figures.loss : figures.terms[name]) = sum.value.item<double>() / sum.weight;
    after_step(figures);
  }
}

std::vector<Metric> Run::drain_window(double seconds) {
  std::vector<Metric> metrics;
  for (const auto& [name, sum] : window.sums) {
    const double value = sum.value.item<double>();
    const bool counts = name == "skipped_steps";
    if (counts) {
      report.skipped_steps += static_cast<std::int64_t>(value);
      if (value >= static_cast<double>(window.steps) && !loss_scale.on())
        throw Error({.where = fmt::format("training step {}", step),
                     .found = "gradients that are not finite",
                     .expected = "a loss that can be minimised",
                     .advice = "Lower learning_rate, or set clip."},
                    ErrorKind::failure);
    }
    metrics.emplace_back("train/" + name, counts ? value : value / sum.weight);
  }
  metrics.emplace_back("train/learning_rate", learning_rate(step - 1));
  if (options.dropout.is_object()) metrics.emplace_back("train/dropout", dropout_now);
  for (const auto& [name, value] : entropies) metrics.emplace_back("train/" + name, value);
  for (const PlacedControl& placed : controls_of(step - 1))
    for (const auto& [name, value] : placed.control->metrics()) metrics.emplace_back("train/" + name, value);
  if (stages.size() > 1) metrics.emplace_back("train/stage", static_cast<double>(plan.at(step - 1).stage));
  metrics.emplace_back("train/tokens", static_cast<double>(report.tokens));
  if (seconds > 0)
    metrics.emplace_back("train/tokens_per_second", static_cast<double>(window.tokens) / seconds);
  if (loss_scale.on()) metrics.emplace_back("train/loss_scale", loss_scale.scale().item<double>());
  window = {};
  return metrics;
}

void Run::save(const std::filesystem::path& run_folder, const std::string& fingerprint) const {
  NamedTensors state = optimizer.state();
  state.emplace_back("loss_scale", loss_scale.state());
  std::vector<std::pair<std::string, NamedTensors>> files = {{"state", std::move(state)}};
  if (!best.empty()) files.emplace_back("best", best);
  if (!good.empty()) files.emplace_back("good", good);
  if (!good_averages.empty()) files.emplace_back("good_averages", good_averages);
  if (teachers != nullptr && !teachers->state().empty()) files.emplace_back("averages", teachers->state());
  Json controls = Json::array(), sources = Json::array();
  for (const TrainStage& stage : stages) {
    sources.push_back(stage.source->state());
    for (const StepControl* control : stage.controls) controls.push_back(control->state());
  }
  for (const StepControl* control : callbacks.controls) controls.push_back(control->state());
  write_checkpoint(run_folder, step,
                   {{"step", step},
                    {"fingerprint", fingerprint},
                    {"sources", sources},
                    {"window", window.to_json()},
                    {"tokens", report.tokens},
                    {"stage_tokens", stage_tokens},
                    {"best_validation", report.best_validation},
                    {"best_step", report.best_step},
                    {"skipped_steps", report.skipped_steps},
                    {"rate_factor", rate_factor},
                    {"clip", clip},
                    {"controls", controls},
                    {"environment", numeric_environment()}},
                   files);
}

void Run::restore(const Checkpoint& checkpoint) {
  const Json& state = checkpoint.state();
  const auto read = reader_of(checkpoint.read("state"), checkpoint.path().string());
  optimizer.restore(read);
  loss_scale.restore(read("loss_scale"));
  if (checkpoint.has("best")) best = checkpoint.read("best");
  if (checkpoint.has("good")) good = checkpoint.read("good");
  if (checkpoint.has("good_averages") && teachers != nullptr)
    good_averages = checkpoint.read("good_averages");
  step = state.at("step").get<std::int64_t>();
  if (checkpoint.has("averages") && teachers != nullptr)
    teachers->restore(reader_of(checkpoint.read("averages"), checkpoint.path().string()));
  window = Window::from_json(state.at("window"), student.device());
  report.tokens = state.at("tokens").get<std::int64_t>();
  stage_tokens = state.at("stage_tokens").get<std::vector<std::int64_t>>();
  stage_tokens.resize(stages.size());
  report.best_validation = number_of(state.at("best_validation"));
  report.best_step = state.at("best_step").get<std::int64_t>();
  report.skipped_steps = state.at("skipped_steps").get<std::int64_t>();
  rate_factor = state.at("rate_factor").get<double>();
  if ((clip = state.at("clip").get<double>()) > 0) optimizer.set_clip(clip);
  std::size_t next = 0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    stages[i].source->restore(state.at("sources").at(i));
    for (StepControl* control : stages[i].controls) control->restore(state.at("controls").at(next++));
  }
  for (StepControl* control : callbacks.controls) control->restore(state.at("controls").at(next++));
  if (state.at("environment") != numeric_environment())
    log_warning(
        "This machine, thread count or torch differs from the checkpoint's: the run goes on, but not to the "
        "same bits.");
  log_info("Going on from {} (step {}).", checkpoint.path().string(), step);
}

}  // namespace

Trainer::Trainer(TrainerOptions options, std::filesystem::path run_folder, std::string fingerprint)
    : options_(std::move(options)), run_folder_(std::move(run_folder)), fingerprint_(std::move(fingerprint)) {
  check(options_);
}

TrainReport Trainer::run(CausalLM& student, const CausalLM* teacher, BatchSource& source,
                         Objective& objective, const TrainerCallbacks& callbacks) {
  std::optional<Teachers> teachers;
  if (teacher != nullptr) teachers = Teachers::of(*teacher);
  return run(student, teachers ? &*teachers : nullptr, {{.objective = &objective, .source = &source}},
             StagePlan(options_.steps), callbacks);
}

TrainReport Trainer::run(CausalLM& student, Teachers* teachers, const std::vector<TrainStage>& stages,
                         const StagePlan& plan, const TrainerCallbacks& callbacks) {
  const double warmup =
      options_.warmup < 1 ? options_.warmup * static_cast<double>(options_.steps) : options_.warmup;
  const std::vector<Parameter> learnable = learnable_parameters(student);
  check_patterns(learnable, stages);
  Run run{.options = options_,
          .callbacks = callbacks,
          .student = student,
          .teachers = teachers,
          .stages = stages,
          .plan = plan,
          .learnable = learnable,
          .optimizer = AdamW(trainable(learnable, stages), {.beta1 = options_.beta1,
                                                            .beta2 = options_.beta2,
                                                            .epsilon = options_.epsilon,
                                                            .weight_decay = options_.weight_decay,
                                                            .clip = options_.clip,
                                                            .rates = rate_rules(options_)}),
          .loss_scale = LossScale(student.dtype() == at::kHalf, student.device()),
          .rate = {.kind = options_.schedule,
                   .peak = options_.learning_rate,
                   .minimum = options_.min_learning_rate,
                   .warmup_steps = static_cast<std::int64_t>(warmup + 0.5),
                   .total_steps = options_.steps},
          .dropout = parse_value(options_.dropout, "dropout"),
          .window = {},
          .step = 0,
          .report = {},
          .best = {},
          .good = {},
          .good_averages = {},
          .stage_tokens = std::vector<std::int64_t>(stages.size(), 0),
          .entropies = {}};
  if (const auto checkpoint = Checkpoint::newest(run_folder_)) {
    if (checkpoint->state().value("fingerprint", "") == fingerprint_) {
      try {
        run.restore(*checkpoint);
      } catch (const Json::exception& wrong) {
        throw Error({.where = (checkpoint->path() / "state.json").string(),
                     .found = wrong.what(),
                     .expected = "the state of a run, as this program writes it",
                     .advice = "Delete the folder: the run starts anew."});
      }
    } else {
      log_warning("{} belongs to other options, data or models: starting anew.", checkpoint->path().string());
    }
  }
  std::vector<std::unique_ptr<MetricsSink>> sinks;
  if (callbacks.open_sinks) sinks = callbacks.open_sinks(run.step);
  const auto record = [&](const std::vector<Metric>& metrics) {
    for (const auto& sink : sinks) sink->write(run.step, metrics);
  };

  const Clock::time_point began = Clock::now();
  const std::int64_t tokens_before = run.report.tokens;
  Clock::time_point saved = began, logged = began;
  std::string note;
  bool early = false;  // patience is at an end
  while (run.step < options_.steps && !early) {
    run.train_step();
    ++run.step;
    const bool last = run.step == options_.steps;
    if (last || run.step % options_.log_every == 0) {
      const std::vector<Metric> metrics = run.drain_window(seconds_since(logged));
      logged = Clock::now();
      for (const Metric& metric : metrics)
        if (metric.first == "train/loss") note = fmt::format("loss {:.4f}", metric.second);
      record(metrics);
    }
    if (callbacks.progress) callbacks.progress(run.step, options_.steps, note);
    if (callbacks.validate &&
        (last || (options_.validate_every > 0 && run.step % options_.validate_every == 0))) {
      std::vector<Metric> metrics;
      const double value = callbacks.validate(student, metrics);
      record(metrics);
      if (run.best.empty() || std::isnan(run.report.best_validation) || value < run.report.best_validation) {
        run.best = snapshot(run.learnable);
        run.report.best_validation = value;
        run.report.best_step = run.step;
      }
      logged = Clock::now();  // validation time is not training time
      early = options_.patience > 0 &&
              run.step - run.report.best_step >= options_.patience * options_.validate_every;
      if (early && run.window.steps > 0) record(run.drain_window(0));
      if (early) continue;
    }
    const bool stop = interrupt_requested() && !last;
    if (stop || (!last && options_.save_seconds > 0 && seconds_since(saved) >= options_.save_seconds)) {
      run.save(run_folder_, fingerprint_);
      saved = Clock::now();
    }
    if (stop) {
      run.report.stopped = true;
      break;
    }
  }
  run.report.steps = run.step;
  run.report.seconds = seconds_since(began);
  run.report.tokens_per_second =
      static_cast<double>(run.report.tokens - tokens_before) / std::max(1e-9, run.report.seconds);
  for (const Parameter& parameter : run.learnable) parameter.tensor.set_requires_grad(true);
  if (!run.report.stopped && !run.best.empty()) load_snapshot(run.learnable, run.best);
  return run.report;
}

}  // namespace retort
