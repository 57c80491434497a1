#include "data/sources/formats.h"

namespace retort {
namespace {

std::unique_ptr<RecordSource> open(std::unique_ptr<ByteStream> bytes) {
  const std::filesystem::path path = bytes->path();
  return make_record_source(path, std::make_unique<LineReader>(std::move(bytes)), json_record_parser());
}

}  // namespace

const RecordFormat kJsonlFormat = {
    ".jsonl", "one JSON object a line: question/answer, instruction/output, messages, text …",
    "{\"question\": \"2 + 2?\", \"answer\": \"4\"}\n", open};

}  // namespace retort
