#include "training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/machine.h"
#include "training/adamw.h"
#include "training/checkpoint.h"
#include "training/entropy.h"
#include "training/loss_scale.h"
#include "training/value_schedule.h"

namespace retort {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Sums since the last log record, kept on the device in double so that a step waits for nothing.
struct Window {
  std::map<std::string, at::Tensor> sums;
  double weight = 0;  // Σ w over target positions
  std::int64_t tokens = 0, steps = 0;

  void add(const std::string& name, const at::Tensor& value) {
    const at::Tensor wide = value.detach().to(at::kDouble);
    auto [place, is_new] = sums.emplace(name, wide);
    if (!is_new) place->second = place->second + wide;
  }
  Json to_json() const {
    Json values = Json::object();
    for (const auto& [name, sum] : sums) values[name] = sum.item<double>();
    return {{"sums", values}, {"weight", weight}, {"tokens", tokens}, {"steps", steps}};
  }
  static Window from_json(const Json& json, at::Device device) {
    Window window;
    for (const auto& [name, value] : json.at("sums").items())
      window.sums[name] = at::full({}, value.get<double>(), at::TensorOptions(device).dtype(at::kDouble));
    window.weight = json.at("weight").get<double>();
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

NamedTensors snapshot(const CausalLM& model) {
  NamedTensors copy;
  for (const Parameter& parameter : model.parameters())
    if (parameter.tensor.requires_grad())
      copy.emplace_back(parameter.name, parameter.tensor.detach().to(at::kCPU, parameter.tensor.scalar_type(),
                                                                     false, /*copy=*/true));
  return copy;
}

void load_snapshot(const CausalLM& model, const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  for (const Parameter& parameter : model.parameters())
    if (parameter.tensor.requires_grad()) parameter.tensor.detach().copy_(by_name.at(parameter.name));
}

// Steps between snapshots that an alarm may go back to.
constexpr std::int64_t kSnapshotSteps = 50;

bool any_control(const std::vector<StepControl*>& controls, bool (StepControl::*asks)() const) {
  return std::any_of(controls.begin(), controls.end(),
                     [&](const StepControl* control) { return (control->*asks)(); });
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
  const CausalLM* teacher;
  BatchSource& source;
  Objective& objective;
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
  NamedTensors good;                        // the optimizer's state to go back to, when a control may
  std::map<std::string, double> entropies;  // of the last step that looked: nats, softmax(z)

  StepPlace place() const;
  double learning_rate(std::int64_t at_step) const { return rate.at(at_step) * rate_factor; }
  void look_at_logits(const DeviceBatch& batch, const ModelOutput& output, const ModelOutput& teacher_output);
  void after_step(const StepFigures& figures);
  // Micro-batches of one optimizer step; returns Σ w.
  void train_step();
  std::vector<Metric> drain_window(double seconds);
  void save(const std::filesystem::path& run_folder, const std::string& fingerprint) const;
  void restore(const Checkpoint& checkpoint);
};

std::vector<Parameter> trainable(const CausalLM& student, Objective& objective) {
  std::vector<Parameter> all;
  for (const Parameter& parameter : student.parameters())
    if (parameter.tensor.requires_grad()) all.push_back(parameter);
  for (const Parameter& parameter : objective.parameters()) all.push_back(parameter);
  if (all.empty())
    throw Error(
        {.where = "training", .found = "no trainable parameter", .expected = "at least one", .advice = ""});
  return all;
}

StepPlace Run::place() const {
  const double epoch_tokens = static_cast<double>(callbacks.epoch_tokens);
  const double run_tokens = static_cast<double>(options.steps * options.accumulation * options.batch_tokens);
  return {.step = step,
          .steps = options.steps,
          .epoch = epoch_tokens > 0 ? static_cast<double>(report.tokens) / epoch_tokens : 0,
          .epochs = epoch_tokens > 0 ? run_tokens / epoch_tokens : 0};
}

// Some positions speak for the micro-batch: their logits cost little beside its own.
void Run::look_at_logits(const DeviceBatch& batch, const ModelOutput& output,
                         const ModelOutput& teacher_output) {
  const bool logs = (step + 1) % options.log_every == 0 || step + 1 == options.steps;
  if (!logs && !any_control(callbacks.controls, &StepControl::wants_logits)) return;
  if (batch.target_index.size(0) == 0) return;
  const at::NoGradGuard no_grad;
  const at::Tensor student_logits = student.logits(spread_rows(output.target_rows(batch).detach()));
  at::Tensor teacher_logits;
  if (teacher != nullptr) teacher_logits = teacher->logits(spread_rows(teacher_output.target_rows(batch)));
  for (StepControl* control : callbacks.controls)
    if (control->wants_logits()) control->see_logits(student_logits, teacher_logits);
  if (!logs) return;
  entropies["student_entropy"] = mean_entropy(student_logits, 1).item<double>();
  if (teacher != nullptr) entropies["teacher_entropy"] = mean_entropy(teacher_logits, 1).item<double>();
}

// Controls see what the step gave and may change what follows.
void Run::after_step(const StepFigures& figures) {
  bool roll_back = false, acted = false;
  for (StepControl* control : callbacks.controls) {
    const StepAction action = control->after_step(place(), figures, objective);
    rate_factor *= action.rate_factor;
    if (action.clip > 0) optimizer.set_clip(clip = action.clip);
    roll_back |= action.roll_back;
    acted |= action.roll_back || action.rate_factor != 1;
  }
  if (!any_control(callbacks.controls, &StepControl::may_roll_back)) return;
  if (roll_back && !good.empty()) {
    optimizer.restore(reader_of(good, "snapshot"));
  } else if (!acted && (good.empty() || (step + 1) % kSnapshotSteps == 0) && std::isfinite(figures.loss)) {
    good = copies(optimizer.state());
  }
}

void Run::train_step() {
  const StepPlace step_place = place();
  dropout_now = dropout.at(step_place);
  for (StepControl* control : callbacks.controls) control->before_step(step_place, objective);
  double weight = 0;
  std::map<std::string, at::Tensor> sums;  // of this step
  const auto add = [&](const std::string& name, const at::Tensor& value) {
    const auto [here, is_new] = sums.emplace(name, value.detach());
    if (!is_new) here->second = here->second + value.detach();
  };
  for (std::int64_t micro = 0; micro < options.accumulation; ++micro) {
    const std::optional<Batch> batch = source.next();
    if (!batch)
      throw Error({.where = "training data",
                   .found = "its end before the last step",
                   .expected = "an endless source",
                   .advice = ""});
    const DeviceBatch here = upload(*batch, student.device());
    ModelOutput teacher_output;
    if (teacher != nullptr) {
      const at::NoGradGuard no_grad;
      teacher_output = teacher->forward(here, objective.teacher_taps(), {.targets_only = true});
    }
    const std::uint64_t place = static_cast<std::uint64_t>(step * options.accumulation + micro);
    const ForwardOptions forward{.training = true,
                                 .dropout = dropout_now,
                                 .dropout_key = hash64({reinterpret_cast<const char*>(&place), sizeof place},
                                                       static_cast<std::uint64_t>(options.seed)),
                                 .checkpoint_activations = options.checkpoint_activations,
                                 .targets_only = true};
    const ModelOutput output = student.forward(here, objective.student_taps(), forward);
    if (micro == 0) look_at_logits(here, output, teacher_output);
    const ObjectiveResult result =
        objective.compute({.batch = here,
                           .student = student,
                           .student_output = output,
                           .teacher = teacher,
                           .teacher_output = teacher != nullptr ? &teacher_output : nullptr,
                           .step = step});
    if (loss_scale.on())
      result.total.sum.backward(loss_scale.scale());
    else
      result.total.sum.backward();
    optimizer.accumulate();
    weight += result.total.weight;
    add("loss", result.total.sum);
    for (const NamedLoss& term : result.terms) add(term.name, term.sum);
    window.tokens += here.host->size();
    report.tokens += here.host->size();
  }
  if (weight <= 0)
    throw Error({.where = "training data",
                 .found = "a step without any target token",
                 .expected = "answers to learn",
                 .advice = ""});
  for (const auto& [name, sum] : sums) window.add(name, sum);
  const at::Tensor norm = optimizer.step(learning_rate(step), loss_scale.scale() * weight);
  loss_scale.update(optimizer.skipped());
  window.add("gradient_norm", norm);
  window.add("skipped_steps", optimizer.skipped());
  window.weight += weight;
  ++window.steps;
  if (any_control(callbacks.controls, &StepControl::wants_figures)) {
    StepFigures figures{.loss = 0, .gradient_norm = norm.item<double>(), .terms = {}};
    for (const auto& [name, sum] : sums)
      (name == "loss" ? figures.loss : figures.terms[name]) = sum.item<double>() / weight;
    after_step(figures);
  }
}

std::vector<Metric> Run::drain_window(double seconds) {
  std::vector<Metric> metrics;
  for (const auto& [name, sum] : window.sums) {
    const double value = sum.item<double>();
    const bool per_step = name == "gradient_norm";
    if (name == "skipped_steps") {
      report.skipped_steps += static_cast<std::int64_t>(value);
      if (value >= static_cast<double>(window.steps) && !loss_scale.on())
        throw Error({.where = fmt::format("training step {}", step),
                     .found = "gradients that are not finite",
                     .expected = "a loss that can be minimised",
                     .advice = "Lower learning_rate, or set clip."},
                    ErrorKind::failure);
    }
    metrics.emplace_back("train/" + name,
                         name == "skipped_steps"
                             ? value
                             : value / (per_step ? static_cast<double>(window.steps) : window.weight));
  }
  metrics.emplace_back("train/learning_rate", learning_rate(step - 1));
  if (options.dropout.is_object()) metrics.emplace_back("train/dropout", dropout_now);
  for (const auto& [name, value] : entropies) metrics.emplace_back("train/" + name, value);
  for (const StepControl* control : callbacks.controls)
    for (const auto& [name, value] : control->metrics()) metrics.emplace_back("train/" + name, value);
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
  Json controls = Json::array();
  for (const StepControl* control : callbacks.controls) controls.push_back(control->state());
  write_checkpoint(run_folder, step,
                   {{"step", step},
                    {"fingerprint", fingerprint},
                    {"source", source.state()},
                    {"window", window.to_json()},
                    {"tokens", report.tokens},
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
  step = state.at("step").get<std::int64_t>();
  source.restore(state.at("source"));
  window = Window::from_json(state.at("window"), student.device());
  report.tokens = state.at("tokens").get<std::int64_t>();
  report.best_validation = state.at("best_validation").get<double>();
  report.best_step = state.at("best_step").get<std::int64_t>();
  report.skipped_steps = state.at("skipped_steps").get<std::int64_t>();
  rate_factor = state.at("rate_factor").get<double>();
  if ((clip = state.at("clip").get<double>()) > 0) optimizer.set_clip(clip);
  for (std::size_t i = 0; i < callbacks.controls.size(); ++i)
    callbacks.controls[i]->restore(state.at("controls").at(i));
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
  const double warmup =
      options_.warmup < 1 ? options_.warmup * static_cast<double>(options_.steps) : options_.warmup;
  Run run{.options = options_,
          .callbacks = callbacks,
          .student = student,
          .teacher = objective.needs_teacher() ? teacher : nullptr,
          .source = source,
          .objective = objective,
          .optimizer = AdamW(trainable(student, objective), {.beta1 = options_.beta1,
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
          .entropies = {}};
  if (const auto checkpoint = Checkpoint::newest(run_folder_)) {
    if (checkpoint->state().value("fingerprint", "") == fingerprint_)
      run.restore(*checkpoint);
    else
      log_warning("{} belongs to other options, data or models: starting anew.", checkpoint->path().string());
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
      if (run.best.empty() || value < run.report.best_validation) {
        run.best = snapshot(student);
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
  if (!run.report.stopped && !run.best.empty()) load_snapshot(student, run.best);
  return run.report;
}

}  // namespace retort
