// How much each position counts in a term on layers.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "base/options.h"
#include "objective/registry.h"

namespace retort {

struct PositionOptions {
  std::string positions = "targets";
  std::vector<std::string> domain_terms = {};
  double domain_weight = 2;
  void visit(OptionList& list);
};

struct Positions {
  std::vector<float> of_row;         // [N]: each row's weight
  at::Tensor index;                  // int64 [n]: rows whose weight is above 0, in order
  at::Tensor weights;                // fp32 [n]
  std::vector<std::int64_t> starts;  // [S + 1]: where each sequence begins in `index`
};

class PositionWeights {
 public:
  // Throws Error for a negative domain_weight, a term without tokens, and terms without a tokenizer.
  PositionWeights(const PositionOptions& options, const std::string& where, const TermContext& context);

  // Targets: w_i at position i. All: the sequence's Σ w, spread evenly over its positions. Either times
  // domain_weight at the tokens of a domain term. A sequence's weights depend on nothing beside it.
  Positions operator()(const DeviceBatch& batch) const;

 private:
  void raise_domain_terms(const Batch& batch, std::vector<float>& weights) const;

  bool all_ = false;
  float domain_weight_ = 1;
  std::unordered_map<TokenId, std::vector<std::vector<TokenId>>> terms_;  // by their first token
};

}  // namespace retort
