#include "cli/learn.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/progress.h"
#include "cli/learn_data.h"
#include "cli/learn_folder.h"
#include "cli/learn_models.h"
#include "cli/learn_stages.h"
#include "objective/alignment/cka.h"
#include "report/report.h"
#include "training/alarms.h"
#include "training/checkpoint.h"
#include "training/validation.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kEncodingTargets = 1024;  // positions on which an encoded teacher is compared

// Of the validation answers; 0 without any.
double tokens_per_char(const Dataset& dataset) {
  return static_cast<double>(dataset.validation.total_targets()) /
         static_cast<double>(std::max<std::int64_t>(1, dataset.validation_chars));
}

std::int64_t trainable_parameters(const CausalLM& model) {
  std::int64_t count = 0;
  for (const Parameter& parameter : model.parameters())
    if (parameter.tensor.requires_grad()) count += parameter.tensor.numel();
  return count;
}

std::uint64_t folder_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

// What happens on the side of a run: validation, a progress bar, records of figures.
TrainerCallbacks make_callbacks(const LearnOptions& options, const Dataset& dataset,
                                AdaptiveMixture* adaptive, bool distill) {
  const std::uint64_t step_tokens =
      static_cast<std::uint64_t>(options.trainer.batch_tokens * options.trainer.accumulation);
  TrainerCallbacks callbacks;
  callbacks.epoch_tokens = dataset.train.total_tokens();
  callbacks.progress = [step_tokens, distill, bar = std::shared_ptr<Progress>()](
                           std::int64_t step, std::int64_t steps, const std::string& note) mutable {
    if (!bar)
      bar = std::make_shared<Progress>(distill ? "distilling" : "training",
                                       static_cast<std::uint64_t>(steps) * step_tokens, "tokens",
                                       static_cast<std::uint64_t>(step - 1) * step_tokens);
    bar->update(static_cast<std::uint64_t>(step) * step_tokens, note);
  };
  if (dataset.validation.size() > 0)
    callbacks.validate = [&options, &dataset, adaptive,
                          parts = by_source(dataset.validation, adaptive ? options.data.data.size() : 0)](
                             const CausalLM& model, std::vector<Metric>& metrics) {
      const Likelihood held_out = likelihood(model, dataset.validation, options.trainer.batch_tokens);
      std::vector<double> losses;
      for (const ExampleStore& part : parts)
        losses.push_back(
            part.size() > 0 ? likelihood(model, part, options.trainer.batch_tokens).nats_per_token() : 0);
      if (adaptive) adaptive->see_validation(losses);
      metrics = {{"validation/nats_per_token", held_out.nats_per_token()},
                 {"validation/nats_per_char",
                  held_out.nats / static_cast<double>(std::max<std::int64_t>(1, dataset.validation_chars))}};
      log_info("validation: {:.4f} nats per token, {:.4f} per character", metrics[0].second,
               metrics[1].second);
      return metrics[0].second;
    };
  callbacks.open_sinks = [out = fs::path(options.out)](std::int64_t steps_done) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(open_metrics_jsonl(out / "metrics.jsonl", steps_done + 1));
    sinks.push_back(open_tensorboard(out, steps_done + 1));
    return sinks;
  };
  return callbacks;
}

// What is left to do once the result is saved.
void finish(Json& result, const LearnOptions& options) {
  const fs::path out = options.out;
  result["result_bytes"] = folder_bytes(out / options.adapter.result_folder());
  write_json(out / kLearnResult, result);
  delete_checkpoints(out);
}

}  // namespace

Json learn(const LearnOptions& given, bool distill) {
  LearnOptions options = given;
  options.check(distill);
  options.compute.apply();
  options.compute.reset_peak();
  const bool slow = options.compute.torch_device().is_cpu() && !machine().fast_bf16();
  const bool shortened = slow && options.tokens_if_slow > 0;
  if (shortened) {
    options.trainer.tokens = options.tokens_if_slow;
    options.trainer.steps = 0;
    options.trainer.epochs = 0;
  }

  const std::string fingerprint = learn_fingerprint(options, distill);
  const fs::path out = options.out;
  if (already_done(options, fingerprint)) {
    log_info("{}: done already, with the same options and inputs.", options.out);
    Json result = read_json(out / kLearnResult);
    if (!result.contains("result_bytes")) finish(result, options);  // killed in between
    return result;
  }
  fs::create_directories(out);
  set_log_file(out / "log.txt");

  const auto tokenizer = open_tokenizer(tokenizer_folder(options));
  const auto chat_template = open_chat_template(tokenizer_folder(options));
  CausalLM student = make_student(options, *tokenizer);
  // Before terms that remember where the parameters began.
  options.adapter.apply(student, static_cast<std::uint64_t>(options.trainer.seed));
  const auto& ends = student.config().eos_token_ids;
  const auto load = [&](const std::vector<std::string>& files) {
    DatasetOptions data = options.data;
    data.data = files;
    return load_dataset(data, *tokenizer, chat_template.get(),
                        ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()));
  };
  const Dataset dataset = load(options.data.data);
  log_info("{} training examples with {} tokens, {} for validation; {} skipped, {} too long.",
           dataset.train.size(), dataset.train.total_tokens(), dataset.validation.size(),
           dataset.skipped.count, dataset.too_long);
  for (const std::string& place : dataset.skipped.first) log_warning("skipped {}", place);

  const auto teachers = open_teachers(options, *tokenizer, [&] {
    return sample_batches(dataset.train, options.trainer.batch_tokens, kEncodingTargets);
  });
  const auto traces = open_traces(options, *tokenizer, dataset.train);
  const CausalLM* teacher = teachers ? &teachers->first() : nullptr;
  const auto reading =
      options.teacher.empty() ? nullptr : open_reading(options, *tokenizer, student, *teacher, dataset.train);
  const LearnStages stages(options, distill, dataset, load,
                           {.student = &student.config(),
                            .teacher = teacher != nullptr ? &teacher->config() : nullptr,
                            .student_model = &student,
                            .teacher_model = teacher,
                            .tokenizer = tokenizer.get(),
                            .device = student.device(),
                            .seed = static_cast<std::uint64_t>(options.trainer.seed),
                            .real_vocab = std::min(tokenizer->vocab_size(), student.config().vocab_size),
                            .traces = traces,
                            .reading = reading},
                           student);
  options.trainer.steps = stages.plan().steps();
  const auto adaptive =
      options.mixture.adapt == 0 ? nullptr : make_adaptive_mixture(options, stages.run_sources());
  std::vector<Objective*> objectives;
  for (const TrainStage& stage : stages.stages()) objectives.push_back(stage.objective);
  const auto alarms = make_alarms(options.alarms, "alarms", objectives);

  TrainerCallbacks callbacks = make_callbacks(options, dataset, adaptive.get(), distill);
  if (alarms) callbacks.controls.push_back(alarms.get());
  if (adaptive) callbacks.controls.push_back(adaptive.get());
  const TrainReport report = Trainer(options.trainer, out, fingerprint)
                                 .run(student, teachers.get(), stages.stages(), stages.plan(), callbacks);
  callbacks.progress = {};  // ends the bar
  if (report.stopped) {
    log_info("Stopped; a checkpoint was written. The same command goes on from here.");
    return nullptr;
  }
  Json result = {{"steps", report.steps},
                 {"tokens", report.tokens},
                 {"seconds", report.seconds},
                 {"tokens_per_second", report.tokens_per_second},
                 {"best_step", report.best_step},
                 {"validation_nats_per_token", report.best_validation},
                 {"validation_nats_per_char", report.best_validation * tokens_per_char(dataset)},
                 {"trainable_parameters", trainable_parameters(student)},
                 {"peak_memory_bytes", options.compute.peak_bytes()},
                 {"skipped_steps", report.skipped_steps},
                 {"shortened_for_slow_cpu", shortened},
                 {"compute", options.compute.describe()},
                 {"machine", machine().to_json()},
                 {"fingerprint", fingerprint}};
  write_json(out / kLearnResult, result);
  save_result(student, options);
  finish(result, options);
  log_info("{} steps, {:.0f} tokens per second; the model is in {}.", report.steps, report.tokens_per_second,
           (out / options.adapter.result_folder()).string());
  set_log_file({});
  return result;
}

}  // namespace retort
