// What can be judged of a source's records.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/record_source.h"

namespace retort {

// One question and its answer out of a record.
struct Question {
  std::vector<Message> messages;  // the answer last
  std::string source, reference;
  std::uint64_t id = 0;  // of the record
};

// The next record that is a question and an answer; others are added to `skipped`.
std::optional<Question> next_question(RecordSource& records, SkipReport& skipped);
// Counts one more, with its place in words.
void skip(SkipReport& skipped, std::string place);

}  // namespace retort
