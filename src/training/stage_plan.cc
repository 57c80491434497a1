#include "training/stage_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace retort {
namespace {

// Shares of one round, from whatever lengths were given.
std::vector<double> shares_of(const std::vector<StageLength>& lengths, const std::string& where) {
  const auto count = [&](auto has) { return std::count_if(lengths.begin(), lengths.end(), has); };
  const auto all = static_cast<std::ptrdiff_t>(lengths.size());
  const auto with_share = count([](const StageLength&l) { return l.share != 0; }),
             with_steps = count([](const StageLength&l) { return l.steps != 0; });
  const auto fail = [&](std::string found, const char* expected) {
    throw Error({.where = where, .found = std::move(found), .expected = expected, .advice = ""});
  };
  if (all == 0) fail("an empty list", "at least one stage");
  for (const StageLength& length : lengths)
    if (!(length.share >= 0 && length.share <= 1) || length.steps < 0)
      fail(fmt::format("stage '{}' of share {} or {} steps", length.name, length.share, length.steps),
           "a share above 0, at most 1, or at least 1 step");
  if ((with_share != 0 && with_share != all) || (with_steps != 0 && with_steps != all) ||
      (with_share != 0 && with_steps != 0))
    fail(fmt::format("{} stages, {} with a share, {} with steps", all, with_share, with_steps),
         "a share for each, steps for each, or neither for any");
  std::vector<double> shares;
  double sum = 0;
  for (const StageLength& length : lengths) {
    shares.push_back(with_share != 0   ? length.share
                     : with_steps != 0 ? static_cast<double>(length.steps)
                                       : 1.0 / static_cast<double>(all));
    sum += shares.back();
  }
  if (with_share != 0 && std::abs(sum - 1) > 1e-6) fail(fmt::format("shares that sum to {:.6g}", sum), "1");
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace

StagePlan::StagePlan(const std::vector<StageLength>& lengths, std::int64_t steps, std::int64_t rounds,
                     const std::string& where) {
  const std::vector<double> shares = shares_of(lengths, where);
  if (rounds < 1)
    throw Error({.where = "rounds", .found = std::to_string(rounds), .expected = "at least 1", .advice = ""});
  std::int64_t own = 0;
  for (const StageLength& length : lengths) own += length.steps * rounds;
  if (own > 0 && steps > 0 && own != steps)
    throw Error({.where = where,
                 .found = fmt::format("{} steps in all stages, and {} in the run", own, steps),
                 .expected = "the same",
                 .advice = "Leave out the run's own length."});
  const std::int64_t total = own > 0 ? own : steps;
  std::vector<std::int64_t> before(lengths.size(), 0);
  std::int64_t begin = 0;
  for (std::int64_t round = 0; round < rounds; ++round) {
    double share = 0;
    for (std::size_t stage = 0; stage < shares.size(); ++stage) {
      share += shares[stage];
      const bool last = round + 1 == rounds && stage + 1 == shares.size();
      const double place =
          (static_cast<double>(round) + share) / static_cast<double>(rounds) * static_cast<double>(total);
      const std::int64_t end = last ? total : std::llround(place);
      if (end <= begin)
        throw Error(
            {.where = where,
             .found = fmt::format("no step for stage '{}' in a run of {} steps", lengths[stage].name, total),
             .expected = "at least 1 a round",
             .advice = "Train longer, or make it a larger share."});
      visits_.push_back({.stage = stage, .begin = begin, .end = end, .before = before[stage]});
      before[stage] += end - begin;
      begin = end;
    }
  }
}

const StagePlan::Visit& StagePlan::at(std::int64_t step) const {
  const auto after = std::upper_bound(visits_.begin(), visits_.end(), step,
                                      [](std::int64_t s, const Visit& visit) { return s < visit.end; });
  return after == visits_.end() ? visits_.back() : *after;
}

StepPlace StagePlan::place(std::int64_t step) const {
  const Visit& now = at(step);
  std::int64_t steps = 0;
  for (const Visit& visit : visits_)
    if (visit.stage == now.stage) steps += visit.end - visit.begin;
  return {.step = now.before + step - now.begin, .steps = steps};
}

}  // namespace retort
