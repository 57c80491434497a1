#include "data/sources/formats.h"

namespace retort {
namespace {

class TextParser : public RecordParser {
 public:
  std::optional<Record> parse(std::string_view document, std::string& problem) override {
    Record record;
    record.text = document;
    return record;
  }
};

std::unique_ptr<RecordSource> open(std::unique_ptr<ByteStream> bytes) {
  const std::filesystem::path path = bytes->path();
  return make_record_source(path, read_documents(std::move(bytes)), std::make_unique<TextParser>());
}

}  // namespace

const RecordFormat kTxtFormat = {".txt", "plain text, documents separated by blank lines",
                                 "Call me Ishmael.\nSome years ago.\n\nA second document.\n", open};

}  // namespace retort
