#include "cli/learn.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/progress.h"
#include "data/trace_key.h"
#include "objective/alignment/cka.h"
#include "objective/alignment/teacher_reading.h"
#include "report/report.h"
#include "training/alarms.h"
#include "training/checkpoint.h"
#include "training/term_schedules.h"
#include "training/validation.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kResultFile = "train.json";
constexpr std::int64_t kSampleTargets = 1024;  // positions on which terms look at both models before training

// The objective of a recipe: its own terms, or `alpha` of forward KL and the rest of cross entropy.
Json objective_terms(const LearnOptions& options, bool distill) {
  if (!options.terms.is_null()) return options.terms;
  if (!distill) return Json::array({{{"name", "cross_entropy"}}});
  if (options.alpha < 0 || options.alpha > 1)
    throw Error({.where = "alpha",
                 .found = fmt::format("{}", options.alpha),
                 .expected = "a share between 0 and 1",
                 .advice = ""});
  Json terms = Json::array();
  if (options.alpha > 0)
    terms.push_back(
        {{"name", "forward_kl"}, {"weight", options.alpha}, {"temperature", options.temperature}});
  if (options.alpha < 1) terms.push_back({{"name", "cross_entropy"}, {"weight", 1 - options.alpha}});
  return terms;
}

// All that the final weights depend on, except the machine: a checkpoint or a finished run of another
// fingerprint is not ours.
std::string run_fingerprint(const LearnOptions& options, bool distill) {
  LearnOptions copy = options;
  OptionList list;
  copy.visit(list, distill);
  Json values = list.to_json();
  for (const char* key : {"out", "overwrite", "save_seconds", "threads", "device"}) values.erase(key);
  std::string text = values.dump();
  std::vector<std::string> inputs = options.data.data;
  inputs.insert(inputs.end(), options.data.validation.begin(), options.data.validation.end());
  for (const std::string& path : {options.model, options.tokenizer, options.teacher})
    if (!path.empty()) inputs.push_back(path);
  if (!options.traces.empty()) text += "\n" + TraceStore(options.traces).manifest().to_json().dump();
  for (const std::string& path : inputs) text += "\n" + hash_path(path);
  return hash_text(text + options.compute.describe().at("precision").dump());
}

// The token that tokenizer_config.json says ends an answer.
std::optional<TokenId> end_token(const fs::path& folder, const Tokenizer& tokenizer) {
  const fs::path file = folder / "tokenizer_config.json";
  if (!fs::exists(file)) return std::nullopt;
  const Json name = read_json(file).value("eos_token", Json());
  if (name.is_string()) return tokenizer.token_id(name.get<std::string>());
  return name.is_object() ? tokenizer.token_id(name.value("content", "")) : std::nullopt;
}

CausalLM make_student(const LearnOptions& options, const Tokenizer& tokenizer) {
  const at::Device device = options.compute.torch_device();
  if (!options.model.empty()) return CausalLM(ModelFolder(options.model), device, options.compute.dtype());
  Json config = options.config;
  if (!config.contains("vocab_size")) config["vocab_size"] = tokenizer.vocab_size();
  if (!config.contains("eos_token_id"))
    if (const auto end = end_token(options.tokenizer, tokenizer)) config["eos_token_id"] = *end;
  const std::string where = "config";
  ModelConfig parsed =
      find_family(json_get<std::string>(config, "model_type", where), where).parse(config, where);
  check_config(parsed, where);
  if (parsed.vocab_size < tokenizer.vocab_size())
    throw Error({.where = "config: vocab_size",
                 .found = std::to_string(parsed.vocab_size),
                 .expected = fmt::format("at least the tokenizer's {}", tokenizer.vocab_size()),
                 .advice = ""});
  return CausalLM(std::move(parsed), device, options.compute.dtype(),
                  static_cast<std::uint64_t>(options.trainer.seed));
}

// Traces of this data by this teacher, all of them: a run does not find out in its third hour.
std::shared_ptr<const TraceStore> open_traces(const LearnOptions& options, const Tokenizer& tokenizer,
                                              const ExampleStore& examples) {
  if (options.traces.empty()) return nullptr;
  auto store = std::make_shared<const TraceStore>(options.traces);
  if (store->manifest().tokenizer != tokenizer.fingerprint())
    throw Error({.where = "traces",
                 .found = options.traces + ", whose teacher has another tokenizer than the student",
                 .expected = "one tokenizer for both",
                 .advice = ""});
  if (!options.teacher.empty() && store->manifest().teacher != hash_path(options.teacher))
    throw Error({.where = "traces",
                 .found = options.traces + ", recorded of another teacher",
                 .expected = "traces of " + options.teacher,
                 .advice = "Record them with `retort trace`, or leave out one of the two."});
  std::int64_t missing = 0;
  for (std::int64_t i = 0; i < examples.size(); ++i) missing += !store->targets(trace_key(examples.get(i)));
  if (missing > 0)
    throw Error({.where = "traces",
                 .found = fmt::format("none of {} of the {} training examples", missing, examples.size()),
                 .expected = "all",
                 .advice = "Run `retort trace` with the same data, max_length and --out " + options.traces +
                           ": it records what is missing."});
  return store;
}

std::unique_ptr<CausalLM> open_teacher(const LearnOptions& options) {
  auto teacher = std::make_unique<CausalLM>(ModelFolder(options.teacher), options.compute.torch_device(),
                                            options.compute.dtype());
  teacher->set_requires_grad(false);
  return teacher;
}

// What a teacher with a tokenizer and chat template of its own reads of the same records; null for one with
// the student's tokenizer.
std::shared_ptr<TeacherReading> open_reading(const LearnOptions& options, const Tokenizer& tokenizer,
                                             const CausalLM& student, const CausalLM& teacher,
                                             const ExampleStore& examples) {
  const auto own = open_tokenizer(options.teacher);
  if (own->fingerprint() == tokenizer.fingerprint()) return nullptr;
  const auto chat_template = open_chat_template(options.teacher);
  const auto& ends = teacher.config().eos_token_ids;
  DatasetOptions data = options.data;
  data.max_length = teacher.config().max_position_embeddings;
  const auto texts = [](const Tokenizer& of, const CausalLM& model) {
    if (of.vocab_size() > model.config().vocab_size)
      throw Error({.where = "teacher and student: vocab_size",
                   .found = std::to_string(model.config().vocab_size),
                   .expected = fmt::format("at least the tokenizer's {}", of.vocab_size()),
                   .advice = ""});
    return token_texts(of, model.config().eos_token_ids);
  };
  auto reading = std::make_shared<TeacherReading>(
      teacher, texts(tokenizer, student), texts(*own, teacher),
      load_dataset(data, *own, chat_template.get(),
                   ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()))
          .train);
  const std::int64_t aligned = reading->aligned(examples);
  log_info(
      "The teacher reads with a tokenizer of its own: {} of {} tokens are in both vocabularies, {} of {} "
      "examples have the same answers to both.",
      reading->shared().size(), reading->student_vocab(), aligned, examples.size());
  if (aligned == 0)
    throw Error({.where = "teacher",
                 .found = fmt::format("none of {} examples with the same answers to it", examples.size()),
                 .expected = "answers that both models' chat templates write",
                 .advice = ""});
  return reading;
}

void check_options(const LearnOptions& options, bool distill) {
  if (distill && options.teacher.empty() && options.traces.empty())
    throw Error({.where = "teacher",
                 .found = "nothing",
                 .expected = "the teacher's folder, or the traces recorded of it",
                 .advice = ""});
  if (options.model.empty() && (options.config.is_null() || options.tokenizer.empty()))
    throw Error({.where = distill ? "student" : "model",
                 .found = "nothing",
                 .expected = "a model folder, or config and tokenizer for a new model",
                 .advice = ""});
  if (options.model.empty() == options.config.is_null())
    throw Error(
        {.where = "config", .found = "a model folder beside it", .expected = "one of the two", .advice = ""});
  check(options.trainer);
  options.adapter.check(/*has_base=*/!options.model.empty());
}

// What a run leaves in its folder; other files there are the user's.
void remove_run(const fs::path& out) {
  for (const char* name : {"model", "adapter", kResultFile, "metrics.jsonl", "log.txt"})
    remove_tree(out / name);
  delete_checkpoints(out);
  if (!fs::is_directory(out)) return;
  std::vector<fs::path> events;
  for (const auto& entry : fs::directory_iterator(out))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) events.push_back(entry.path());
  for (const fs::path& path : events) remove_tree(path);
}

bool is_within(const fs::path& path, const fs::path& folder) {
  const fs::path inner = fs::weakly_canonical(path), outer = fs::weakly_canonical(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

// True when the run has ended before with the same options and inputs. What another run left is overwritten
// only when the user says so: finished, under way, or a model that no run of ours wrote there.
bool already_done(const LearnOptions& options, const std::string& fingerprint) {
  const fs::path out = options.out, result = out / kResultFile, model = out / options.adapter.result_folder();
  if (fs::exists(out) && !fs::is_directory(out))
    throw Error({.where = options.out, .found = "a file", .expected = "a folder", .advice = ""});
  for (const std::string& input : {options.model, options.tokenizer, options.teacher})
    if (!input.empty() && is_within(input, model))
      throw Error({.where = options.out,
                   .found = input + ", which this run reads, where it would write its model",
                   .expected = "a folder of its own",
                   .advice = "Choose another out."});
  std::string found;  // that is not this run's
  if (fs::exists(result)) {
    const bool same = read_json(result).value("fingerprint", "") == fingerprint;
    if (same && fs::exists(model) && !options.overwrite) return true;
    if (!same || options.overwrite) found = "a finished run with other options, data or models";
  } else if (const auto checkpoint = Checkpoint::newest(out)) {
    if (checkpoint->state().value("fingerprint", "") != fingerprint)
      found = fmt::format("a run stopped at step {}, with other options, data or models", checkpoint->step());
  } else if (fs::exists(model)) {  // a run writes its result before its model
    found = "a model that no run has written";
  }
  if (found.empty()) return false;
  if (!options.overwrite)
    throw Error({.where = options.out,
                 .found = found,
                 .expected = "a new folder",
                 .advice = "Choose another out, or add --overwrite."});
  remove_run(out);
  return false;
}

void save_model(const CausalLM& student, const LearnOptions& options) {
  AtomicFolder target(fs::path(options.out) / "model", /*replace=*/true);
  DType dtype = stored_dtype(student.dtype());
  if (options.save_dtype != "auto")
    dtype = options.save_dtype == "fp32"   ? DType::f32
            : options.save_dtype == "fp16" ? DType::f16
                                           : DType::bf16;
  save_causal_lm(student, target.path(),
                 {.dtype = dtype,
                  .max_shard_bytes = 0,
                  .tokenizer_from = options.model.empty() ? options.tokenizer : options.model});
  target.commit();
}

}  // namespace

void LearnOptions::visit(OptionList& list, bool distill) {
  if (distill) {
    list.add("teacher", teacher, "folder of the teacher").path = PathRole::input;
    list.add("traces", traces, "or: what `retort trace` recorded of it").path = PathRole::input;
    list.add("student", model, "folder of the student to start from").path = PathRole::input;
    list.add("alpha", alpha,
             "share of the softened forward KL; the rest is cross entropy with the data's own answers");
    list.add("temperature", temperature, "of the softened distributions");
  } else {
    list.add("model", model, "folder of the model to start from").path = PathRole::input;
  }
  list.add("config", config, "config.json keys of a new model with random weights, instead of a folder");
  list.add("tokenizer", tokenizer, "folder of a new model's tokenizer and chat template").path =
      PathRole::input;
  list.add(
      "terms", terms,
      "loss terms, e.g. [{name: forward_kl, weight: 0.9, temperature: {schedule: linear, from: 4, to: 1}}, "
      "{name: cross_entropy, weight: 0.1}]");
  list.add(
      "alarms", alarms,
      "what to do when a run goes wrong, e.g. [{when: gradient_norm_above, value: 100, action: cut_rate}]");
  if (distill)
    list.add("elastic", elastic,
             "weights of teacher and labels by how the student does, e.g. {low: 0.5, high: 0.9}");
  Option& out_option = list.add("out", out, "run folder to write");
  out_option.required = true;
  out_option.path = PathRole::output;
  list.add("overwrite", overwrite, "replace a finished run of other options");
  list.add("save_dtype", save_dtype, "type of the weights written").choices = {"auto", "fp32", "bf16",
                                                                               "fp16"};
  list.add("tokens_if_slow", tokens_if_slow,
           "instead of tokens, on CPUs that do not multiply bf16 in hardware");
  data.visit(list);
  adapter.visit(list);
  trainer.visit(list);
  compute.visit(list);
}

Json learn(const LearnOptions& given, bool distill) {
  LearnOptions options = given;
  check_options(options, distill);
  options.compute.apply();
  const bool slow = options.compute.torch_device().is_cpu() && !machine().fast_bf16();
  const bool shortened = slow && options.tokens_if_slow > 0;
  if (shortened) options.trainer.tokens = options.tokens_if_slow;

  const std::string fingerprint = run_fingerprint(options, distill);
  const fs::path out = options.out;
  if (already_done(options, fingerprint)) {
    log_info("{}: done already, with the same options and inputs.", options.out);
    return read_json(out / kResultFile);
  }
  fs::create_directories(out);
  set_log_file(out / "log.txt");

  const fs::path tokenizer_folder = options.model.empty() ? options.tokenizer : options.model;
  const auto tokenizer = open_tokenizer(tokenizer_folder);
  const auto chat_template = open_chat_template(tokenizer_folder);
  CausalLM student = make_student(options, *tokenizer);
  const auto teacher = options.teacher.empty() ? nullptr : open_teacher(options);
  const auto& ends = student.config().eos_token_ids;
  Dataset dataset = load_dataset(options.data, *tokenizer, chat_template.get(),
                                 ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()));
  log_info("{} training examples with {} tokens, {} for validation; {} skipped, {} too long.",
           dataset.train.size(), dataset.train.total_tokens(), dataset.validation.size(),
           dataset.skipped.count, dataset.too_long);
  for (const std::string& place : dataset.skipped.first) log_warning("skipped {}", place);

  options.trainer.steps = resolve_steps(options.trainer, dataset.train.total_tokens());
  const auto traces = open_traces(options, *tokenizer, dataset.train);
  Json terms = objective_terms(options, distill);
  std::vector<std::unique_ptr<StepControl>> controls;
  controls.push_back(take_term_schedules(terms, "terms"));
  controls.push_back(make_elastic_mix(options.elastic, "elastic"));
  controls.push_back(make_alarms(options.alarms, "alarms"));
  // Before terms that remember where the parameters began.
  options.adapter.apply(student, static_cast<std::uint64_t>(options.trainer.seed));
  const auto reading =
      teacher ? open_reading(options, *tokenizer, student, *teacher, dataset.train) : nullptr;
  Objective objective = make_objective(
      terms, "terms",
      {.student = &student.config(),
       .teacher = teacher ? &teacher->config() : nullptr,
       .student_model = &student,
       .teacher_model = teacher.get(),
       .sample = [&] { return sample_batches(dataset.train, options.trainer.batch_tokens, kSampleTargets); },
       .tokenizer = tokenizer.get(),
       .device = student.device(),
       .seed = static_cast<std::uint64_t>(options.trainer.seed),
       .real_vocab = traces ? traces->manifest().vocab_size : 0,
       .traces = traces,
       .reading = reading});
  const auto source = prefetch(pack_examples(dataset.train, {.batch_tokens = options.trainer.batch_tokens,
                                                             .shuffle = true,
                                                             .epochs = 0,
                                                             .seed = options.trainer.seed}));

  const std::uint64_t step_tokens =
      static_cast<std::uint64_t>(options.trainer.batch_tokens * options.trainer.accumulation);
  std::unique_ptr<Progress> bar;
  TrainerCallbacks callbacks;
  for (const auto& control : controls)
    if (control) callbacks.controls.push_back(control.get());
  callbacks.epoch_tokens = dataset.train.total_tokens();
  callbacks.progress = [&](std::int64_t step, std::int64_t steps, const std::string& note) {
    if (!bar)
      bar = std::make_unique<Progress>(distill ? "distilling" : "training",
                                       static_cast<std::uint64_t>(steps) * step_tokens, "tokens",
                                       static_cast<std::uint64_t>(step - 1) * step_tokens);
    bar->update(static_cast<std::uint64_t>(step) * step_tokens, note);
  };
  if (dataset.validation.size() > 0)
    callbacks.validate = [&](const CausalLM& model, std::vector<Metric>& metrics) {
      const Likelihood held_out = likelihood(model, dataset.validation, options.trainer.batch_tokens);
      metrics = {{"validation/nats_per_token", held_out.nats_per_token()},
                 {"validation/nats_per_char",
                  held_out.nats / static_cast<double>(std::max<std::int64_t>(1, dataset.validation_chars))}};
      log_info("validation: {:.4f} nats per token, {:.4f} per character", metrics[0].second,
               metrics[1].second);
      return metrics[0].second;
    };
  callbacks.open_sinks = [&](std::int64_t steps_done) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(open_metrics_jsonl(out / "metrics.jsonl", steps_done + 1));
    sinks.push_back(open_tensorboard(out, steps_done + 1));
    return sinks;
  };

  const TrainReport report =
      Trainer(options.trainer, out, fingerprint).run(student, teacher.get(), *source, objective, callbacks);
  bar.reset();
  if (report.stopped) {
    log_info("Stopped; a checkpoint was written. The same command goes on from here.");
    return nullptr;
  }
  const Json result = {{"steps", report.steps},
                       {"tokens", report.tokens},
                       {"seconds", report.seconds},
                       {"tokens_per_second", report.tokens_per_second},
                       {"best_step", report.best_step},
                       {"validation_nats_per_token", report.best_validation},
                       {"skipped_steps", report.skipped_steps},
                       {"shortened_for_slow_cpu", shortened},
                       {"compute", options.compute.describe()},
                       {"machine", machine().to_json()},
                       {"fingerprint", fingerprint}};
  write_json(out / kResultFile, result);
  if (options.adapter.on())
    options.adapter.save(student, options.model, out / options.adapter.result_folder());
  else
    save_model(student, options);
  delete_checkpoints(out);
  log_info("{} steps, {:.0f} tokens per second; the model is in {}.", report.steps, report.tokens_per_second,
           (out / options.adapter.result_folder()).string());
  set_log_file({});
  return result;
}

}  // namespace retort
