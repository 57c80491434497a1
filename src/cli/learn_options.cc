#include "base/error.h"
#include "cli/learn.h"
#include "model/blocks/encoded_weight.h"

namespace retort {

void LearnOptions::visit(OptionList& list, bool distill) {
  if (distill) {
    list.add("teacher", teacher, "folder of the teacher").path = PathRole::input;
    list.add("teachers", teachers,
             "several in its place, e.g. [{model: DIR, weight: 0.7}, {average: 0.999}], the last a moving "
             "average of the student; weight may be a list, one for each data file");
    list.add("teachers_by", teachers_by,
             "how several are mixed: by their weights, times their confidence in the label or exp(-entropy); "
             "or which one a sequence gets: the first whose up_to is not below the prompt's length or the "
             "student's loss")
        .choices = {"weight", "confidence", "entropy", "prompt_length", "student_loss"};
    list.add("teacher_encoding", teacher_encoding,
             "keep teachers' linear layers in 8 or 4 bits: i8_channel, f8_channel, q8_0, q4_k …; how close "
             "that is to the "
             "teacher itself is measured and logged; none: in the run's precision");
    list.add("teacher_kl_limit", teacher_kl_limit,
             "nats per token by which an encoded teacher may differ; else it is used as it is");
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
  list.add("label_smoothing", label_smoothing,
           "of the cross entropy: this share of each target is spread over the vocabulary");
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
  if (distill)
    list.add("on_policy", on_policy,
             "a share of the batches is written by the student and scored by the teacher (GKD), e.g. {share: "
             "0.5, temperature: 1, max_tokens: 128}");
  list.add("stages", stages,
           "parts of the run, one after another, e.g. [{name: features, share: 0.3, terms: [{name: "
           "hidden_mse}], train: [mlp]}, {name: task, share: 0.7, data: [FILE]}]; lengths as share, steps or "
           "epochs; what a stage does not say is the run's");
  list.add("rounds", rounds, "times that the stages are gone through, in turn");
  Option& out_option = list.add("out", out, "run folder to write");
  out_option.required = true;
  out_option.path = PathRole::output;
  list.add("overwrite", overwrite, "replace a finished run of other options");
  list.add("save_dtype", save_dtype, "type of the weights written").choices = {"auto", "fp32", "bf16",
                                                                               "fp16"};
  list.add("tokens_if_slow", tokens_if_slow,
           "instead of tokens, on CPUs that do not multiply bf16 in hardware");
  data.visit(list);
  mixture.visit(list);
  adapter.visit(list);
  trainer.visit(list);
  compute.visit(list);
}

void LearnOptions::check(bool distill) const {
  if (distill && teacher.empty() && traces.empty() && teachers.is_null())
    throw Error({.where = "teacher",
                 .found = "nothing",
                 .expected = "the teacher's folder, or the traces recorded of it",
                 .advice = ""});
  if (!teachers.is_null() && !(teacher.empty() && traces.empty()))
    throw Error({.where = "teachers",
                 .found = "a list beside " + (teacher.empty() ? "traces" : "teacher " + teacher),
                 .expected = "one of the two",
                 .advice = "Put it into the list."});
  if (teacher_encoding != "none") find_weight_encoding(teacher_encoding, "teacher_encoding");
  if (!(teacher_kl_limit >= 0))
    throw Error({.where = "teacher_kl_limit",
                 .found = Json(teacher_kl_limit).dump(),
                 .expected = "0 or more",
                 .advice = ""});
  if (model.empty() && (config.is_null() || tokenizer.empty()))
    throw Error({.where = distill ? "student" : "model",
                 .found = "nothing",
                 .expected = "a model folder, or config and tokenizer for a new model",
                 .advice = ""});
  if (model.empty() == config.is_null())
    throw Error(
        {.where = "config", .found = "a model folder beside it", .expected = "one of the two", .advice = ""});
  const LearnOptions defaults;
  if (!terms.is_null())
    for (const auto& [key, given, usual] : {std::tuple{"alpha", alpha, defaults.alpha},
                                            {"temperature", temperature, defaults.temperature},
                                            {"label_smoothing", label_smoothing, defaults.label_smoothing}})
      if (given != usual)
        throw Error({.where = key,
                     .found = Json(given).dump() + ", and terms beside it",
                     .expected = "one of the two",
                     .advice = "Say it in the terms, which have options of their own."});
  if (tokens_if_slow > 0 && stages.is_array())
    for (const Json& stage : stages)
      if (stage.is_object() && (stage.contains("steps") || stage.contains("epochs")))
        throw Error({.where = "tokens_if_slow",
                     .found = "stages with steps or epochs of their own",
                     .expected = "stages with shares",
                     .advice = ""});
  retort::check(trainer);
  adapter.check(/*has_base=*/!model.empty());
}

std::vector<std::string> LearnOptions::nested_inputs() const {
  std::vector<std::string> paths;
  const auto add = [&](const Json& path) {
    if (path.is_string()) paths.push_back(path.get<std::string>());
  };
  if (teachers.is_array())
    for (const Json& item : teachers)
      if (item.is_object()) add(item.value("model", Json()));
  const std::vector<std::string> files = stage_files();
  paths.insert(paths.end(), files.begin(), files.end());
  return paths;
}

std::vector<std::string> LearnOptions::stage_files() const {
  std::vector<std::string> files;
  if (stages.is_array())
    for (const Json& item : stages)
      if (item.is_object())
        for (const Json& file : item.value("data", Json::array()))
          if (file.is_string()) files.push_back(file.get<std::string>());
  return files;
}

}  // namespace retort
