#include "training/value_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/options.h"

namespace retort {

namespace {

// From 0 to 1 over the run, or over its end.
double progress_at(const ValueSchedule& schedule, const StepPlace& place) {
  const double progress =
      static_cast<double>(place.step) / static_cast<double>(std::max<std::int64_t>(1, place.steps - 1));
  if (schedule.last <= 0) return progress;
  const double whole = schedule.per_epoch ? place.epochs : static_cast<double>(place.steps);
  if (whole <= 0)
    throw Error({.where = "schedule: last",
                 .found = "epochs, of data that has no end",
                 .expected = "per: step",
                 .advice = ""});
  const double begin = 1 - std::min(1.0, schedule.last / whole);
  return std::clamp((progress - begin) / (1 - begin), 0.0, 1.0);
}

}  // namespace

double ValueSchedule::first() const { return std::max(minimum, from); }

double ValueSchedule::at(const StepPlace& place) const {
  const double time = per_epoch ? std::floor(place.epoch) : static_cast<double>(place.step);
  const double progress = progress_at(*this, place);
  double value = from;
  switch (kind) {
    case Kind::linear:
      value = from + (to - from) * progress;
      break;
    case Kind::cosine:
      value = to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
      break;
    case Kind::exponential:
      value = from * std::pow(factor, time);
      break;
    case Kind::halving:
      value = from * std::pow(0.5, std::floor(time / every));
      break;
  }
  return std::max(minimum, value);
}

ValueSchedule parse_value_schedule(const Json& json, const std::string& where) {
  struct {
    std::string schedule, per;
    double from = NAN, to = NAN, rate = NAN, factor = NAN, every = NAN, minimum = 0, last = 0;
  } given;
  OptionList list;
  list.add("schedule", given.schedule, "").choices = {"linear", "cosine", "exponential", "halving"};
  list.add("per", given.per, "").choices = {"", "step", "epoch"};
  list.add("from", given.from, "");
  list.add("to", given.to, "");
  list.add("rate", given.rate, "");
  list.add("factor", given.factor, "");
  list.add("every", given.every, "");
  list.add("minimum", given.minimum, "");
  list.add("last", given.last, "");
  list.assign(json, where);
  list.check(where);

  const auto need = [&](const char* key, double value, bool fits, const char* expected) {
    if (!fits)
      throw Error({.where = where + ": " + key,
                   .found = std::isnan(value) ? "nothing" : json.at(key).dump(),
                   .expected = expected,
                   .advice = ""});
  };
  ValueSchedule out;
  out.minimum = given.minimum;
  need("minimum", given.minimum, given.minimum >= 0, "at least 0");
  need("from", given.from, given.from >= 0 && std::isfinite(given.from), "a number of at least 0");
  out.from = given.from;
  if (given.schedule == "linear" || given.schedule == "cosine") {
    out.kind = given.schedule == "linear" ? ValueSchedule::Kind::linear : ValueSchedule::Kind::cosine;
    need("to", given.to, given.to >= 0 && std::isfinite(given.to), "a number of at least 0");
    out.to = given.to;
    need("last", given.last, given.last >= 0 && std::isfinite(given.last), "a number of at least 0");
    out.last = given.last;
    out.per_epoch = given.per != "step";
  } else if (given.schedule == "exponential") {
    out.kind = ValueSchedule::Kind::exponential;
    if (std::isnan(given.factor)) {
      need("rate", given.rate, given.rate >= 0 && std::isfinite(given.rate),
           "a number of at least 0, or a factor");
      out.factor = std::exp(-given.rate);
    } else {
      need("factor", given.factor, given.factor > 0 && given.factor <= 1, "above 0 and at most 1");
      need("rate", given.rate, std::isnan(given.rate), "nothing beside a factor");
      out.factor = given.factor;
    }
    out.per_epoch = given.per == "epoch";
  } else {
    out.kind = ValueSchedule::Kind::halving;
    need("every", given.every, given.every > 0 && std::isfinite(given.every), "a number above 0");
    out.every = given.every;
    out.per_epoch = given.per != "step";
  }
  return out;
}

ValueSchedule parse_value(const Json& json, const std::string& where) {
  if (json.is_object()) return parse_value_schedule(json, where);
  if (!json.is_number())
    throw Error({.where = where,
                 .found = json.dump(),
                 .expected = "a number, or a schedule such as {schedule: linear, from: 0.1, to: 0.3}",
                 .advice = ""});
  ValueSchedule constant;
  constant.from = constant.to = json.get<double>();
  constant.minimum = std::min(0.0, constant.from);
  return constant;
}

}  // namespace retort
