#include "base/error.h"
#include "cli/learn.h"

namespace retort {

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
  if (distill && teacher.empty() && traces.empty())
    throw Error({.where = "teacher",
                 .found = "nothing",
                 .expected = "the teacher's folder, or the traces recorded of it",
                 .advice = ""});
  if (model.empty() && (config.is_null() || tokenizer.empty()))
    throw Error({.where = distill ? "student" : "model",
                 .found = "nothing",
                 .expected = "a model folder, or config and tokenizer for a new model",
                 .advice = ""});
  if (model.empty() == config.is_null())
    throw Error(
        {.where = "config", .found = "a model folder beside it", .expected = "one of the two", .advice = ""});
  retort::check(trainer);
  adapter.check(/*has_base=*/!model.empty());
}

}  // namespace retort
