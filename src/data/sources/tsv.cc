#include "data/sources/formats.h"

namespace retort {
namespace {

class PairParser : public RecordParser {
 public:
  std::optional<Record> parse(std::string_view line, std::string& problem) override {
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos) {
      problem = "no tab";
      return std::nullopt;
    }
    // Further columns (licences, ids) are not read.
    const std::string_view rest = line.substr(tab + 1);
    const std::string_view source = trim(line.substr(0, tab)), target = trim(rest.substr(0, rest.find('\t')));
    if (source.empty() || target.empty()) {
      problem = source.empty() ? "empty source" : "empty target";
      return std::nullopt;
    }
    Record record;
    record.messages = {{"user", std::string(source)}, {"assistant", std::string(target)}};
    return record;
  }
};

std::unique_ptr<RecordSource> open(std::unique_ptr<ByteStream> bytes) {
  const std::filesystem::path path = bytes->path();
  return make_record_source(path, std::make_unique<LineReader>(std::move(bytes)),
                            std::make_unique<PairParser>());
}

}  // namespace

const RecordFormat kTsvFormat = {".tsv", "source and target, separated by a tab, one pair a line",
                                 "学而时习之\t学了又按时温习\n", open};

}  // namespace retort
