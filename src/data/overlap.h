// Which training records have their text in the validation part.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "data/record_source.h"

namespace retort {

class OverlapFilter {
 public:
  // "either", "source" or "none": DatasetOptions::overlap.
  explicit OverlapFilter(const std::string& mode) : sources_(mode != "none"), answers_(mode == "either") {}

  void add_validation(const Record& record);
  bool overlaps(const Record& record) const;

 private:
  bool sources_, answers_;
  // Hashes of normalised texts; 0 stands for an empty one and is never entered.
  std::unordered_set<std::uint64_t> validation_sources_;
  // answer → its question's hash, or kSeveral once a second question has it.
  std::unordered_map<std::uint64_t, std::uint64_t> validation_answers_;
};

}  // namespace retort
