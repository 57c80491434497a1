#include "evaluate/questions.h"

#include <fmt/format.h>

#include <utility>

namespace retort {

void skip(SkipReport& skipped, std::string place) { add_skipped(skipped, {1, {std::move(place)}}); }

std::optional<Question> next_question(RecordSource& records, SkipReport& skipped) {
  while (std::optional<Record> record = records.next()) {
    const std::vector<Message>& m = record->messages;
    const std::size_t first = !m.empty() && m.front().role == "system" ? 1 : 0;
    if (m.size() == first + 2 && m[first].role == "user" && m[first + 1].role == "assistant" &&
        !m[first + 1].content.empty())
      return Question{m, m[first].content, m[first + 1].content, record->id()};
    skip(skipped, fmt::format("record {:016x}: not one user message and one answer", record->id()));
  }
  return std::nullopt;
}

}  // namespace retort
