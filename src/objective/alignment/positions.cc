#include "objective/alignment/positions.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace retort {

void PositionOptions::visit(OptionList& list) {
  list.add("positions", positions, "targets: those with a loss; all: every token").choices = {"targets",
                                                                                              "all"};
  list.add("domain_terms", domain_terms, "words whose tokens count domain_weight times");
  list.add("domain_weight", domain_weight, "of positions within a domain term; others count once");
}

PositionWeights::PositionWeights(const PositionOptions& options, const std::string& where,
                                 const TermContext& context)
    : all_(options.positions == "all"), domain_weight_(static_cast<float>(options.domain_weight)) {
  if (!(options.domain_weight >= 0 && std::isfinite(options.domain_weight)))
    throw Error({.where = where + ": domain_weight",
                 .found = Json(options.domain_weight).dump(),
                 .expected = "a number of at least 0",
                 .advice = ""});
  if (options.domain_terms.empty()) return;
  if (context.tokenizer == nullptr)
    throw Error({.where = where + ": domain_terms",
                 .found = "no tokenizer",
                 .expected = "one that makes tokens of them",
                 .advice = ""},
                ErrorKind::failure);
  for (const std::string& term : options.domain_terms) {
    // A word in the middle of a text may begin with the space before it.
    for (const std::string& form : {term, " " + term}) {
      std::vector<TokenId> tokens =
          context.tokenizer->encode(form, {.add_special_tokens = false, .parse_added_tokens = false});
      if (term.empty() || tokens.empty())
        throw Error({.where = where + ": domain_terms",
                     .found = "'" + term + "', which has no tokens",
                     .expected = "words",
                     .advice = ""});
      auto& same_start = terms_[tokens.front()];
      if (std::find(same_start.begin(), same_start.end(), tokens) == same_start.end())
        same_start.push_back(std::move(tokens));
    }
  }
}

void PositionWeights::raise_domain_terms(const Batch& batch, std::vector<float>& weights) const {
  std::vector<bool> within(weights.size(), false);
  for (std::size_t s = 0; s + 1 < batch.sequence_starts.size(); ++s) {
    const auto begin = batch.tokens.begin() + batch.sequence_starts[s],
               end = batch.tokens.begin() + batch.sequence_starts[s + 1];
    for (auto at = begin; at != end; ++at) {
      const auto found = terms_.find(*at);
      if (found == terms_.end()) continue;
      for (const std::vector<TokenId>& term : found->second)
        if (end - at >= static_cast<std::ptrdiff_t>(term.size()) && std::equal(term.begin(), term.end(), at))
          std::fill_n(within.begin() + (at - batch.tokens.begin()), term.size(), true);
    }
  }
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (within[i]) weights[i] *= domain_weight_;
}

Positions PositionWeights::operator()(const DeviceBatch& batch) const {
  if (batch.host == nullptr)
    throw Error({.where = "positions", .found = "no batch on the host", .expected = "one", .advice = ""},
                ErrorKind::failure);
  const Batch& host = *batch.host;
  Positions result;
  result.of_row.resize(host.tokens.size());
  for (std::size_t s = 0; s + 1 < host.sequence_starts.size(); ++s) {
    const auto begin = static_cast<std::size_t>(host.sequence_starts[s]),
               end = static_cast<std::size_t>(host.sequence_starts[s + 1]);
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i)
      if (host.targets[i] != kNoTarget) sum += result.of_row[i] = host.weights[i];
    if (all_)
      std::fill(result.of_row.begin() + static_cast<std::ptrdiff_t>(begin),
                result.of_row.begin() + static_cast<std::ptrdiff_t>(end),
                static_cast<float>(sum / static_cast<double>(end - begin)));
  }
  if (!terms_.empty()) raise_domain_terms(host, result.of_row);
  std::vector<std::int64_t> index;
  std::vector<float> weights;
  for (std::size_t s = 0; s + 1 < host.sequence_starts.size(); ++s) {
    result.starts.push_back(static_cast<std::int64_t>(index.size()));
    for (auto i = static_cast<std::size_t>(host.sequence_starts[s]);
         i < static_cast<std::size_t>(host.sequence_starts[s + 1]); ++i)
      if (result.of_row[i] > 0) {
        index.push_back(static_cast<std::int64_t>(i));
        weights.push_back(result.of_row[i]);
      }
  }
  result.starts.push_back(static_cast<std::int64_t>(index.size()));
  const at::Device device = batch.tokens.device();
  result.index = send(index, device);
  result.weights = send(weights, device);
  return result;
}

}  // namespace retort
