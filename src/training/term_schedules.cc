#include "training/term_schedules.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/options.h"
#include "training/entropy.h"
#include "training/value_schedule.h"

namespace retort {
namespace {

// Of a scheduled temperature, when the recipe names none: at 0 there is no distribution.
constexpr double kLowestTemperature = 0.1;

struct EntropyBand {
  std::string schedule, of = "teacher";
  double from = 1, low = 3.5, high = 4.2, minimum = 1, maximum = 5, step = 0.02;
};

EntropyBand parse_entropy_band(const Json& json, const std::string& where) {
  EntropyBand band;
  OptionList list;
  list.add("schedule", band.schedule, "");
  list.add("of", band.of, "").choices = {"teacher", "student"};
  list.add("from", band.from, "");
  list.add("low", band.low, "");
  list.add("high", band.high, "");
  list.add("minimum", band.minimum, "");
  list.add("maximum", band.maximum, "");
  list.add("step", band.step, "");
  list.assign(json, where);
  list.check(where);
  const bool sane = band.low >= 0 && band.low <= band.high && band.minimum > 0 && band.minimum <= band.from &&
                    band.from <= band.maximum && std::isfinite(band.maximum) && band.step > 0 &&
                    band.step < 1;
  if (!sane)
    throw Error({.where = where,
                 .found = json.dump(),
                 .expected = "low ≤ high, 0 < minimum ≤ from ≤ maximum, 0 < step < 1",
                 .advice = ""});
  return band;
}

struct Scheduled {
  std::string term, key;
  std::optional<EntropyBand> band;
  ValueSchedule schedule;
  double value = 0;
  double entropy = 0;  // last seen, of band
};

class TermSchedules : public StepControl {
 public:
  explicit TermSchedules(std::vector<Scheduled> values) : values_(std::move(values)) {}

  void before_step(const StepPlace& place, Objective& objective) override {
    for (Scheduled& one : values_) {
      if (!one.band) one.value = one.schedule.at(place);
      if (!objective.set(one.term, one.key, one.value))
        throw Error({.where = "terms: " + one.term + ": " + one.key,
                     .found = "a schedule",
                     .expected = "a number, for this one cannot change during a run",
                     .advice = ""});
    }
  }

  bool wants_logits() const override {
    return std::any_of(values_.begin(), values_.end(),
                       [](const Scheduled& one) { return one.band.has_value(); });
  }

  void see_logits(const at::Tensor& student, const at::Tensor& teacher) override {
    for (Scheduled& one : values_) {
      if (!one.band) continue;
      const at::Tensor& logits = one.band->of == "teacher" ? teacher : student;
      if (!logits.defined())
        throw Error({.where = "terms: " + one.term + ": " + one.key + ": of",
                     .found = "teacher",
                     .expected = "student, for there is no teacher at hand",
                     .advice = ""});
      one.entropy = mean_entropy(logits, one.value).item<double>();
      if (one.entropy < one.band->low) one.value *= 1 + one.band->step;
      if (one.entropy > one.band->high) one.value /= 1 + one.band->step;
      one.value = std::clamp(one.value, one.band->minimum, one.band->maximum);
    }
  }

  std::vector<Metric> metrics() const override {
    std::vector<Metric> out;
    for (const Scheduled& one : values_) {
      out.emplace_back(one.term + "_" + one.key, one.value);
      if (one.band) out.emplace_back(one.term + "_" + one.key + "_entropy", one.entropy);
    }
    return out;
  }

  Json state() const override {
    Json state = Json::array();
    for (const Scheduled& one : values_) state.push_back(one.value);
    return state;
  }

  void restore(const Json& state) override {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i].value = state.at(i).get<double>();
  }

 private:
  std::vector<Scheduled> values_;
};

}  // namespace

std::unique_ptr<StepControl> take_term_schedules(Json& terms, const std::string& where) {
  std::vector<Scheduled> values;
  std::set<std::string> labels;
  if (!terms.is_array()) return nullptr;  // said by whoever makes the terms
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (!terms[i].is_object()) continue;
    const std::string label = take_label(terms[i], labels, where + "[" + std::to_string(i) + "]");
    for (auto& [key, value] : terms[i].items()) {
      if (!value.is_object() || !value.contains("schedule")) continue;
      const std::string here = where + "[" + std::to_string(i) + "]: " + key;
      Scheduled one{.term = label, .key = key, .band = {}, .schedule = {}};
      if (value["schedule"] == "entropy") {
        if (key != "temperature")
          throw Error(
              {.where = here, .found = "schedule entropy", .expected = "it at a temperature", .advice = ""});
        one.band = parse_entropy_band(value, here);
        one.value = one.band->from;
      } else {
        one.schedule = parse_value_schedule(value, here);
        if (key == "temperature" && one.schedule.minimum == 0) one.schedule.minimum = kLowestTemperature;
        one.value = one.schedule.first();
      }
      value = one.value;
      values.push_back(std::move(one));
    }
  }
  if (values.empty()) return nullptr;
  return std::make_unique<TermSchedules>(std::move(values));
}

}  // namespace retort
