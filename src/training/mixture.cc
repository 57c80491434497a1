#include "training/mixture.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace retort {

void MixtureOptions::visit(OptionList& list) {
  list.add("mixture", weights,
           "ratios in which examples of the data files are drawn, e.g. [3, 1]; a ratio may be a schedule, as "
           "{schedule: linear, from: 1, to: 0}. Without it every example comes once an epoch");
  list.add("mixture_temperature", temperature,
           "T of ratios n^(1/T), n = a file's examples: small files come more often than they are large; a "
           "number or a schedule");
  list.add("mixture_adapt", adapt,
           "after each validation a file's ratio is multiplied by (loss / first loss)^this; 0: not");
}

Mixture::Mixture(const MixtureOptions& options, std::vector<std::int64_t> sizes) : sizes_(std::move(sizes)) {
  if (!options.weights.is_null()) {
    if (!options.weights.is_array() || options.weights.size() != sizes_.size())
      throw Error({.where = "mixture",
                   .found = options.weights.dump(),
                   .expected = fmt::format("a list of {} ratios, one for each file of data", sizes_.size()),
                   .advice = ""});
    double most = 0;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      const std::string where = fmt::format("mixture[{}]", i);
      weights_.push_back(parse_value(options.weights[i], where));
      const double least = std::min(weights_.back().from, weights_.back().to);
      if (!(least >= 0) || !std::isfinite(weights_.back().from))
        throw Error({.where = where,
                     .found = options.weights[i].dump(),
                     .expected = "ratios of at least 0",
                     .advice = ""});
      if (sizes_[i] > 0) most = std::max({most, weights_.back().from, weights_.back().to});
    }
    if (most <= 0)
      throw Error({.where = "mixture",
                   .found = options.weights.dump() + ", nothing of any file with training examples",
                   .expected = "a ratio above 0",
                   .advice = ""});
  }
  if (!options.temperature.is_null()) {
    temperature_ = parse_value(options.temperature, "mixture_temperature");
    if (!(std::min(temperature_->from, temperature_->to) > 0))
      throw Error({.where = "mixture_temperature",
                   .found = options.temperature.dump(),
                   .expected = "a temperature above 0",
                   .advice = ""});
  }
  if (!(options.adapt >= 0) || !std::isfinite(options.adapt))
    throw Error({.where = "mixture_adapt",
                 .found = fmt::format("{}", options.adapt),
                 .expected = "0 or more",
                 .advice = ""});
}

std::vector<double> Mixture::ratios(const StepPlace& place) const {
  std::vector<double> shares;
  const double power = temperature_ ? 1 / temperature_->at(place) : weights_.empty() ? 1 : 0;
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    const double weight = weights_.empty() ? 1 : weights_[i].at(place);
    shares.push_back(sizes_[i] > 0 ? weight * std::pow(static_cast<double>(sizes_[i]), power) : 0);
  }
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (sum > 0)
    for (double& share : shares) share /= sum;
  return shares;
}

void AdaptiveMixture::see_validation(const std::vector<double>& losses) {
  if (first_.empty()) first_ = losses;
  factors_.assign(losses.size(), 1);
  for (std::size_t i = 0; i < losses.size(); ++i)
    if (first_[i] > 0 && losses[i] > 0) factors_[i] = std::pow(losses[i] / first_[i], adapt_);
  for (BatchSource* reader : readers_) reader->reweigh(factors_);
}

std::vector<Metric> AdaptiveMixture::metrics() const {
  std::vector<Metric> out;
  for (std::size_t i = 0; i < factors_.size(); ++i)
    out.emplace_back(fmt::format("mixture_factor_{}", i), factors_[i]);
  return out;
}

void AdaptiveMixture::restore(const Json& state) {
  first_ = state.at("first").get<std::vector<double>>();
  factors_ = state.at("factors").get<std::vector<double>>();
}

}  // namespace retort
