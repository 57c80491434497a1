#include "data/overlap.h"

#include "base/hash.h"

namespace retort {
namespace {

constexpr std::uint64_t kSeveral = 0;

struct Sides {
  std::uint64_t source = 0, answer = 0;
};

std::uint64_t text_hash(std::string_view text) {
  const std::string normal = normalized_for_overlap(text);
  return normal.empty() ? 0 : hash64(normal);
}

// What the user says and what the assistant says, each as one text; plain text has only a source.
Sides sides_of(const Record& record) {
  if (record.messages.empty()) return {text_hash(record.text), 0};
  std::string source, answer;
  for (const Message& message : record.messages) {
    if (message.role == "system") continue;  // the same one stands before every question
    std::string& side = message.role == "assistant" ? answer : source;
    side.append(message.content).append("\n");
  }
  return {text_hash(source), text_hash(answer)};
}

}  // namespace

void OverlapFilter::add_validation(const Record& record) {
  if (!sources_) return;
  const Sides sides = sides_of(record);
  if (sides.source != 0) validation_sources_.insert(sides.source);
  if (!answers_ || sides.answer == 0) return;
  const auto [entry, added] = validation_answers_.emplace(sides.answer, sides.source);
  if (!added && entry->second != sides.source) entry->second = kSeveral;
}

bool OverlapFilter::overlaps(const Record& record) const {
  if (!sources_) return false;
  const Sides sides = sides_of(record);
  if (validation_sources_.contains(sides.source)) return true;
  const auto entry = validation_answers_.find(sides.answer);
  return entry != validation_answers_.end() && entry->second != kSeveral;
}

}  // namespace retort
