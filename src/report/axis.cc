#include "report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr double kWantedTicks = 5;

// 1, 2 or 5 times a power of ten, at least `least`.
double round_step(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

// As many decimals as the distance between ticks needs.
std::string label_for(double value, double step) {
  const double size = std::max(std::fabs(value), step);
  if (size >= 1e15 || size < 1e-6) return fmt::format("{:.3g}", value);
  double unit = 1;
  const char* suffix = "";
  if (size >= 1e9)
    unit = 1e9, suffix = "G";
  else if (size >= 1e6)
    unit = 1e6, suffix = "M";
  else if (size >= 1e4)
    unit = 1e3, suffix = "k";
  const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step / unit) + 1e-9)), 0, 9);
  const std::string text = fmt::format("{:.{}f}", value / unit, decimals);
  return value == 0 ? "0" : text + suffix;
}

}  // namespace

Axis::Axis(double low, double high, double begin, double end, bool logarithmic)
    : low_(low), high_(high), begin_(begin), end_(end), logarithmic_(logarithmic) {
  if (high_ - low_ > 1e-12 * std::max(std::fabs(low_), std::fabs(high_))) return;
  if (logarithmic_) {
    low_ /= 2;
    high_ *= 2;
  } else {
    const double margin = low_ == 0 ? 1 : 0.1 * std::fabs(low_);
    low_ -= margin;
    high_ += margin;
  }
}

double Axis::scaled(double value) const { return logarithmic_ ? std::log10(value) : value; }

double Axis::place(double value) const {
  return begin_ + (end_ - begin_) * (scaled(value) - scaled(low_)) / (scaled(high_) - scaled(low_));
}

std::vector<Tick> Axis::ticks() const {
  std::vector<Tick> ticks;
  const double decades = logarithmic_ ? std::log10(high_ / low_) : 0;
  if (decades >= 1) {
    const int first = static_cast<int>(std::floor(std::log10(low_))),
              last = static_cast<int>(std::ceil(std::log10(high_)));
    const int every = std::max(1, static_cast<int>(std::ceil(decades / 6)));
    for (int power = first; power <= last; ++power) {
      if ((power - first) % every != 0) continue;
      for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor > 1 && decades > 2.5) break;
        const double value = factor * std::pow(10, power);
        if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9))
          ticks.push_back({value, label_for(value, value / factor)});
      }
    }
    return ticks;
  }
  const double step = round_step((high_ - low_) / kWantedTicks);
  const double first = std::ceil(low_ / step - 1e-9);
  for (int i = 0; i < 20; ++i) {
    const double value = (first + i) * step;
    if (value > high_ + 1e-9 * step) break;
    ticks.push_back({value, label_for(value, step)});
  }
  return ticks;
}

}  // namespace retort
