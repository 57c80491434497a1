#include "data/batch_source.h"

namespace retort {

void ExampleStore::add(const Example& example) {
  records_.push_back({example.id, static_cast<std::int64_t>(tokens_.size()),
                      static_cast<std::int32_t>(example.tokens.size()), example.source, example.weight});
  tokens_.insert(tokens_.end(), example.tokens.begin(), example.tokens.end());
  is_target_.insert(is_target_.end(), example.is_target.begin(), example.is_target.end());
  for (std::size_t i = 1; i < example.is_target.size(); ++i) total_targets_ += example.is_target[i] != 0;
}

Example ExampleStore::get(std::int64_t index) const {
  const Entry& entry = records_.at(static_cast<std::size_t>(index));
  Example example;
  example.tokens.assign(tokens_.begin() + entry.begin, tokens_.begin() + entry.begin + entry.count);
  example.is_target.assign(is_target_.begin() + entry.begin, is_target_.begin() + entry.begin + entry.count);
  example.id = entry.id;
  example.source = entry.source;
  example.weight = entry.weight;
  return example;
}

std::int32_t ExampleStore::source(std::int64_t index) const {
  return records_.at(static_cast<std::size_t>(index)).source;
}

std::int64_t ExampleStore::token_count(std::int64_t index) const {
  return records_.at(static_cast<std::size_t>(index)).count;
}

}  // namespace retort
