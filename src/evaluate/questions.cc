#include "evaluate/questions.h"

#include <fmt/format.h>

#include <utility>

namespace retort {

void skip(SkipReport& skipped, std::string place) {
  ++skipped.count;
  if (skipped.first.size() < 5) skipped.first.push_back(std::move(place));
}

void add_skipped(SkipReport& skipped, const SkipReport& more) {
  skipped.count += more.count;
  for (const std::string& place : more.first)
    if (skipped.first.size() < 5) skipped.first.push_back(place);
}

std::optional<Question> next_question(RecordSource& records, SkipReport& skipped) {
  while (std::optional<Record> record = records.next()) {
    const std::vector<Message>& m = record->messages;
    const std::size_t first = !m.empty() && m.front().role == "system" ? 1 : 0;
    if (m.size() == first + 2 && m[first].role == "user" && m[first + 1].role == "assistant" &&
        !m[first + 1].content.empty())
      return Question{m, m[first].content, m[first + 1].content};
    skip(skipped, fmt::format("record {:016x}: not one user message and one answer", record->id()));
  }
  return std::nullopt;
}

}  // namespace retort
