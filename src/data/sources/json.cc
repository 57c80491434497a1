#include "data/sources/formats.h"

namespace retort {
namespace {

// JSON lines are often named .json; what is no array is read as such.
bool begins_with_bracket(ByteStream& bytes) {
  std::string_view piece;
  bool bracket = false;
  while (!(piece = bytes.next()).empty()) {
    const std::string_view text = trim(piece);
    if (text.empty()) continue;
    bracket = text.front() == '[';
    break;
  }
  bytes.rewind();
  return bracket;
}

std::unique_ptr<RecordSource> open(std::unique_ptr<ByteStream> bytes) {
  const std::filesystem::path path = bytes->path();
  std::unique_ptr<UnitReader> units;
  if (begins_with_bracket(*bytes))
    units = read_json_elements(std::move(bytes));
  else
    units = std::make_unique<LineReader>(std::move(bytes));
  return make_record_source(path, std::move(units), json_record_parser());
}

}  // namespace

const RecordFormat kJsonFormat = {".json",
                                  "an array of the same objects as in .jsonl, read element by element",
                                  "[{\"question\": \"2 + 2?\", \"answer\": \"4\"}]\n", open};

}  // namespace retort
