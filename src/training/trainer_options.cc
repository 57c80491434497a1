#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "training/adamw.h"
#include "training/trainer.h"
#include "training/value_schedule.h"

namespace retort {
namespace {

constexpr double kMostSteps = 1e12;  // beyond what any run takes, within what integers hold

}  // namespace

void TrainerOptions::visit(OptionList& list) {
  list.add("steps", steps, "optimizer steps (or give tokens, or epochs)");
  list.add("tokens", tokens, "prompt and target tokens to train on");
  list.add("epochs", epochs, "passes over the training examples");
  list.add("batch_tokens", batch_tokens, "tokens in a micro-batch; sequences are packed, never padded");
  list.add("accumulation", accumulation, "micro-batches whose gradients are added up for one optimizer step");
  list.add("learning_rate", learning_rate, "peak learning rate of AdamW");
  list.add("min_learning_rate", min_learning_rate, "learning rate at the end of the schedule");
  list.add("schedule", schedule, "shape of the rate after warm-up").choices = {"cosine", "linear",
                                                                               "constant"};
  list.add("warmup", warmup, "warm-up: a share of all steps if below 1, else steps");
  list.add("beta1", beta1, "AdamW's decay of the gradient average");
  list.add("beta2", beta2, "AdamW's decay of the squared gradient average");
  list.add("epsilon", epsilon, "AdamW's epsilon");
  list.add("weight_decay", weight_decay, "AdamW's weight decay, on matrices only");
  list.add("clip", clip, "limit of the global gradient norm; 0 for none");
  list.add("rates", rates,
           "learning rates of their own: factors of the rate for parameters by part of their name, e.g. "
           "[{parameters: lora_B, factor: 16}] (LoRA+)");
  list.add(
      "dropout", dropout,
      "dropout on the embeddings and each residual branch: a number or a schedule, e.g. {schedule: linear, "
      "from: 0.1, to: 0.3, last: 3} (epochs)");
  list.add("checkpoint_activations", checkpoint_activations,
           "keep block inputs only and compute the rest again: less memory, slower");
  list.add("validate_every", validate_every, "steps between validations; 0: only at the end");
  list.add("patience", patience,
           "stop after so many validations without a better one; the best weights are kept in any case");
  list.add("save_seconds", save_seconds, "seconds between checkpoints; 0 for none");
  list.add("log_every", log_every, "steps between records in metrics.jsonl and TensorBoard");
  list.add("seed", seed, "of initial weights, order and dropout");
}

void check(const TrainerOptions& options) {
  const auto require = [](const char* name, double value, bool good, const char* expected) {
    if (!good || !std::isfinite(value))
      throw Error({.where = name, .found = fmt::format("{}", value), .expected = expected, .advice = ""});
  };
  const auto at_least = [&](const char* name, std::int64_t value, std::int64_t least) {
    require(name, static_cast<double>(value), value >= least, least == 0 ? "0 or more" : "1 or more");
  };
  at_least("steps", options.steps, 0);
  at_least("tokens", options.tokens, 0);
  require("epochs", options.epochs, options.epochs >= 0, "0 or more");
  at_least("batch_tokens", options.batch_tokens, 1);
  at_least("accumulation", options.accumulation, 1);
  at_least("log_every", options.log_every, 1);
  at_least("validate_every", options.validate_every, 0);
  require("save_seconds", options.save_seconds, options.save_seconds >= 0, "0 or more");
  require("learning_rate", options.learning_rate, options.learning_rate >= 0, "0 or more");
  require("min_learning_rate", options.min_learning_rate, options.min_learning_rate >= 0, "0 or more");
  require("warmup", options.warmup, options.warmup >= 0 && options.warmup < kMostSteps, "0 or more");
  for (const auto& [name, beta] : {std::pair{"beta1", options.beta1}, {"beta2", options.beta2}})
    require(name, beta, beta >= 0 && beta < 1, "from 0 to below 1");
  require("epsilon", options.epsilon, options.epsilon >= 0, "0 or more");
  require("weight_decay", options.weight_decay, options.weight_decay >= 0, "0 or more");
  require("clip", options.clip, options.clip >= 0, "0 (none) or more");
  at_least("patience", options.patience, 0);
  require("patience", static_cast<double>(options.patience),
          options.patience == 0 || options.validate_every > 0, "0, or validate_every above 0");
  const ValueSchedule dropout = parse_value(options.dropout, "dropout");
  for (const double value : {dropout.from, dropout.to})
    require("dropout", value, value >= 0 && value < 1, "from 0 to below 1");
  rate_rules(options);
}

std::vector<RateRule> rate_rules(const TrainerOptions& options) {
  std::vector<RateRule> rules;
  if (options.rates.is_null()) return rules;
  if (!options.rates.is_array())
    throw Error({.where = "rates",
                 .found = options.rates.dump(),
                 .expected = "a list such as [{parameters: lora_B, factor: 16}]",
                 .advice = ""});
  for (std::size_t i = 0; i < options.rates.size(); ++i) {
    const std::string where = fmt::format("rates[{}]", i);
    RateRule rule;
    OptionList list;
    list.add("parameters", rule.pattern, "part of a parameter's name").required = true;
    list.add("factor", rule.factor, "of the learning rate");
    list.assign(options.rates[i], where);
    list.check(where);
    if (!(rule.factor >= 0) || !std::isfinite(rule.factor))
      throw Error({.where = where + ": factor",
                   .found = fmt::format("{}", rule.factor),
                   .expected = "0 or more",
                   .advice = ""});
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::int64_t resolve_steps(const TrainerOptions& options, std::int64_t tokens_per_epoch) {
  if (options.steps > 0) return options.steps;
  const double step_tokens = static_cast<double>(options.batch_tokens * options.accumulation);
  const double tokens = options.tokens > 0 ? static_cast<double>(options.tokens)
                                           : options.epochs * static_cast<double>(tokens_per_epoch);
  if (tokens <= 0)
    throw Error({.where = "training length",
                 .found = "none of steps, tokens, epochs",
                 .expected = "one of them above 0",
                 .advice = ""});
  const double steps = tokens / step_tokens + 0.5;
  if (!(steps < kMostSteps))
    throw Error({.where = "training length",
                 .found = fmt::format("{:.3g} steps", steps),
                 .expected = fmt::format("fewer than {:.0g}", kMostSteps),
                 .advice = ""});
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

}  // namespace retort
