// Where records come from: files of pairs, dialogues or text, plain or zstd-compressed, read through a memory
// map or as a stream and never held in memory as parsed objects.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/example.h"

namespace retort {

// Bad lines are skipped, counted, and reported with the first few places.
struct SkipReport {
  std::int64_t count = 0;
  std::vector<std::string> first;  // "pairs.tsv line 17: no tab", at most five
};

// Counts on, and shows places up to the most that a report has.
void add_skipped(SkipReport& skipped, const SkipReport& more);

class RecordSource {
 public:
  virtual ~RecordSource() = default;
  virtual std::optional<Record> next() = 0;
  virtual void rewind() = 0;
  virtual const SkipReport& skipped() const = 0;
};

// By what the file holds: .tsv (source ⇥ target), .jsonl (prompt/response, instruction/input/output,
// messages, text), .json (an array of the same), .txt (documents separated by blank lines); each also with
// .zst. Throws Error for an unknown extension, an empty file, or one in which no line can be used.
std::unique_ptr<RecordSource> open_records(const std::filesystem::path& path);

// Train or validation, by hash of the record: `validation_share` of 1,000,000 hash buckets. Stable when data
// grows.
bool in_validation(std::uint64_t record_id, double validation_share);
// What two records must share to count as the same text: NFKC, lower case, letters and digits only.
std::string normalized_for_overlap(std::string_view text);

}  // namespace retort
