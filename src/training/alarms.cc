#include "training/alarms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

namespace retort {
namespace {

struct Alarm {
  std::string when, action, term;
  double value = 0, factor = 0.5, to = 0, minimum = 2, maximum = 5;
  std::int64_t rest = 50;

  void visit(OptionList& list) {
    list.add("when", when, "").choices = {"gradient_norm_above", "gradient_norm_below", "loss_not_finite",
                                          "loss_above", "loss_diverges"};
    list.add("value", value, "");
    list.add("action", action, "").choices = {"set_weight", "scale_temperature", "clip",
                                              "cut_rate",   "roll_back",         "none"};
    list.add("term", term, "");
    list.add("factor", factor, "");
    list.add("to", to, "");
    list.add("minimum", minimum, "");
    list.add("maximum", maximum, "");
    list.add("rest", rest, "");
  }
};

void check(const Alarm& alarm, const Json& given, const std::string& where) {
  const auto need = [&](const char* key, bool fits, const char* expected) {
    if (!fits)
      throw Error({.where = where + ": " + key,
                   .found = given.contains(key) ? given.at(key).dump() : "nothing",
                   .expected = expected,
                   .advice = ""});
  };
  if (alarm.when != "loss_not_finite")
    need("value", given.contains("value") && alarm.value > 0, "a number above 0");
  if (alarm.action == "set_weight" || alarm.action == "scale_temperature")
    need("term", !alarm.term.empty(), "the name of a loss term");
  if (alarm.action == "set_weight")
    need("to", given.contains("to") && alarm.to >= 0, "a weight of at least 0");
  if (alarm.action == "clip") need("to", given.contains("to") && alarm.to > 0, "a gradient norm above 0");
  if (alarm.action == "cut_rate")
    need("factor", alarm.factor > 0 && alarm.factor < 1, "a number between 0 and 1");
  if (alarm.action == "scale_temperature") {
    need("factor", alarm.factor > 0 && given.contains("factor"), "a number above 0");
    need("minimum", alarm.minimum > 0 && alarm.minimum <= alarm.maximum, "above 0 and at most maximum");
  }
  need("rest", alarm.rest >= 1, "at least 1 step");
}

// What of its term an alarm changes, or null.
const char* changed_key(const Alarm& alarm) {
  if (alarm.action == "set_weight") return "weight";
  return alarm.action == "scale_temperature" ? "temperature" : nullptr;
}

// Of the last n values, each new one weighing 1 / n once n have been seen.
struct MovingAverage {
  double span, value = 0;
  std::int64_t seen = 0;
  void add(double x) {
    ++seen;
    value += (x - value) / std::min(span, static_cast<double>(seen));
  }
  Json to_json() const { return {value, seen}; }
  void restore(const Json& json) { value = json.at(0).get<double>(), seen = json.at(1).get<std::int64_t>(); }
};

class Alarms : public StepControl {
 public:
  explicit Alarms(std::vector<Alarm> alarms) : alarms_(std::move(alarms)), quiet_until_(alarms_.size(), 0) {}

  bool wants_figures() const override { return true; }
  bool may_roll_back() const override {
    return std::any_of(alarms_.begin(), alarms_.end(),
                       [](const Alarm& a) { return a.action == "roll_back"; });
  }

  // What an alarm has set stays, also where a schedule sets the same each step, and in later stages that have
  // the term.
  void before_step(const StepPlace&, Objective& objective) override {
    for (const auto& [place, value] : set_) objective.set(place.first, place.second, value);
  }

  StepAction after_step(const StepPlace& place, const StepFigures& figures, Objective& objective) override {
    if (std::isfinite(figures.loss)) fast_.add(figures.loss), slow_.add(figures.loss);
    StepAction all;
    for (std::size_t i = 0; i < alarms_.size(); ++i) {
      if (place.step < quiet_until_[i] || !goes_off(alarms_[i], figures)) continue;
      quiet_until_[i] = place.step + alarms_[i].rest;
      ++count_;
      const std::string done = act(alarms_[i], objective, all);
      log_warning("step {}: alarm {} (loss {:.4g}, gradient norm {:.4g}): {}", place.step + 1,
                  alarms_[i].when, figures.loss, figures.gradient_norm, done);
    }
    return all;
  }

  std::vector<Metric> metrics() const override { return {{"alarms", static_cast<double>(count_)}}; }

  Json state() const override {
    Json set = Json::array();
    for (const auto& [place, value] : set_) set.push_back({place.first, place.second, value});
    return {{"quiet_until", quiet_until_},
            {"fast", fast_.to_json()},
            {"slow", slow_.to_json()},
            {"count", count_},
            {"set", set}};
  }

  void restore(const Json& state) override {
    quiet_until_ = state.at("quiet_until").get<std::vector<std::int64_t>>();
    fast_.restore(state.at("fast"));
    slow_.restore(state.at("slow"));
    count_ = state.at("count").get<std::int64_t>();
    for (const Json& one : state.at("set"))
      set_[{one.at(0).get<std::string>(), one.at(1).get<std::string>()}] = one.at(2).get<double>();
  }

 private:
  bool goes_off(const Alarm& alarm, const StepFigures& figures) const {
    if (alarm.when == "gradient_norm_above") return figures.gradient_norm > alarm.value;
    if (alarm.when == "gradient_norm_below") return figures.gradient_norm < alarm.value;
    if (alarm.when == "loss_not_finite")
      return !std::isfinite(figures.loss) || !std::isfinite(figures.gradient_norm);
    if (alarm.when == "loss_above") return figures.loss > alarm.value;
    return slow_.seen >= static_cast<std::int64_t>(slow_.span) &&
           fast_.value > slow_.value * (1 + alarm.value);
  }

  std::string act(const Alarm& alarm, Objective& objective, StepAction& all) {
    if (alarm.action == "cut_rate") {
      all.rate_factor *= alarm.factor;
      return fmt::format("learning rate × {}", alarm.factor);
    }
    if (alarm.action == "clip") {
      all.clip = alarm.to;
      return fmt::format("clip at {}", alarm.to);
    }
    if (alarm.action == "roll_back") {
      all.roll_back = true;
      return "back to the last good snapshot";
    }
    const char* key = changed_key(alarm);
    if (key == nullptr) return "logged";
    const auto now = objective.get(alarm.term, key);
    if (!now) return fmt::format("nothing, this stage has no {} of {}", key, alarm.term);
    const double next = alarm.action == "set_weight"
                            ? alarm.to
                            : std::clamp(*now * alarm.factor, alarm.minimum, alarm.maximum);
    set_[{alarm.term, key}] = next;
    return fmt::format("{} of {} from {:.3g} to {:.3g}", key, alarm.term, *now, next);
  }

  std::vector<Alarm> alarms_;
  std::vector<std::int64_t> quiet_until_;
  std::map<std::pair<std::string, std::string>, double> set_;  // (term, key) → value
  MovingAverage fast_{10}, slow_{100};
  std::int64_t count_ = 0;
};

struct ElasticOptions {
  std::string soft = "forward_kl", hard = "cross_entropy";
  double low = 0.5, high = 0.9, smoothing = 0.98;
};

class ElasticMix : public StepControl {
 public:
  explicit ElasticMix(ElasticOptions options) : options_(std::move(options)), weight_(options_.high) {}

  bool wants_figures() const override { return true; }

  void before_step(const StepPlace&, Objective& objective) override {
    if (!objective.set(options_.soft, "weight", weight_) ||
        !objective.set(options_.hard, "weight", 1 - weight_))
      throw Error({.where = "elastic",
                   .found = options_.soft + " and " + options_.hard,
                   .expected = "two loss terms of this run",
                   .advice = ""});
  }

  StepAction after_step(const StepPlace&, const StepFigures& figures, Objective&) override {
    const auto soft_term = figures.terms.find(options_.soft), hard_term = figures.terms.find(options_.hard);
    // The student's own words have no hard loss.
    if (soft_term == figures.terms.end() || hard_term == figures.terms.end()) return {};
    const double soft = soft_term->second, hard = hard_term->second;
    if (!std::isfinite(soft) || !std::isfinite(hard)) return {};
    const double keep = seen_ ? options_.smoothing : 0;
    soft_ = keep * soft_ + (1 - keep) * soft;
    hard_ = keep * hard_ + (1 - keep) * hard;
    seen_ = true;
    weight_ = options_.low + (options_.high - options_.low) * soft_ / std::max(1e-12, soft_ + hard_);
    return {};
  }

  std::vector<Metric> metrics() const override { return {{"elastic_soft_weight", weight_}}; }
  Json state() const override { return {weight_, soft_, hard_, seen_}; }
  void restore(const Json& state) override {
    weight_ = state.at(0).get<double>();
    soft_ = state.at(1).get<double>();
    hard_ = state.at(2).get<double>();
    seen_ = state.at(3).get<bool>();
  }

 private:
  ElasticOptions options_;
  double weight_, soft_ = 0, hard_ = 0;
  bool seen_ = false;
};

}  // namespace

std::unique_ptr<StepControl> make_alarms(const Json& alarms, const std::string& where,
                                         const std::vector<Objective*>& objectives) {
  if (alarms.is_null()) return nullptr;
  if (!alarms.is_array())
    throw Error({.where = where, .found = alarms.dump(), .expected = "a list of alarms", .advice = ""});
  std::vector<Alarm> parsed;
  for (std::size_t i = 0; i < alarms.size(); ++i) {
    const std::string here = where + "[" + std::to_string(i) + "]";
    Alarm alarm;
    OptionList list;
    alarm.visit(list);
    list.assign(alarms[i], here);
    list.check(here);
    check(alarm, alarms[i], here);
    const char* key = changed_key(alarm);
    if (key != nullptr && std::none_of(objectives.begin(), objectives.end(), [&](Objective* objective) {
          return objective->get(alarm.term, key).has_value();
        }))
      throw Error({.where = here + ": term",
                   .found = fmt::format("'{}', without a {} to set", alarm.term, key),
                   .expected = "a loss term of this run that has one",
                   .advice = ""});
    parsed.push_back(std::move(alarm));
  }
  if (parsed.empty()) return nullptr;
  return std::make_unique<Alarms>(std::move(parsed));
}

std::unique_ptr<StepControl> make_elastic_mix(const Json& given, const std::string& where) {
  if (given.is_null()) return nullptr;
  ElasticOptions options;
  OptionList list;
  list.add("soft", options.soft, "");
  list.add("hard", options.hard, "");
  list.add("low", options.low, "");
  list.add("high", options.high, "");
  list.add("smoothing", options.smoothing, "");
  list.assign(given, where);
  const bool sane = 0 <= options.low && options.low <= options.high && options.high <= 1 &&
                    options.smoothing >= 0 && options.smoothing < 1;
  if (!sane)
    throw Error({.where = where,
                 .found = given.dump(),
                 .expected = "0 ≤ low ≤ high ≤ 1 and 0 ≤ smoothing < 1",
                 .advice = ""});
  return std::make_unique<ElasticMix>(std::move(options));
}

}  // namespace retort
