#include "data/reading/record_reader.h"

#include <fmt/format.h>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::size_t kReportedPlaces = 5;

class RecordReader : public RecordSource {
 public:
  RecordReader(std::filesystem::path path, std::unique_ptr<UnitReader> units,
               std::unique_ptr<RecordParser> parser)
      : path_(std::move(path)), units_(std::move(units)), parser_(std::move(parser)) {}

  std::optional<Record> next() override {
    Unit unit;
    while (units_->next(unit)) {
      std::string problem = unit.problem != nullptr ? unit.problem : "";
      if (problem.empty()) {
        if (std::optional<Record> record = parser_->parse(unit.text, problem)) {
          ++good_;
          return record;
        }
      }
      ++skipped_.count;
      if (skipped_.first.size() < kReportedPlaces)
        skipped_.first.push_back(fmt::format("{} {} {}: {}", path_.filename().string(), units_->unit_name(),
                                             unit.number, problem));
    }
    if (good_ == 0) throw_useless();
    return std::nullopt;
  }

  void rewind() override {
    units_->rewind();
    skipped_ = {};
    good_ = 0;
  }

  const SkipReport& skipped() const override { return skipped_; }

 private:
  [[noreturn]] void throw_useless() const {
    if (skipped_.count == 0)
      throw Error({.where = path_.string(), .found = "an empty file", .expected = "records", .advice = ""});
    throw Error(
        {.where = path_.string(),
         .found = fmt::format("no usable {} among {} ({})", units_->unit_name(), skipped_.count,
                              skipped_.first[0]),
         .expected = fmt::format("{} records", path_.extension() == ".zst" ? path_.stem().extension().string()
                                                                           : path_.extension().string()),
         .advice = "See docs/data.md for the layouts that are read"});
  }

  std::filesystem::path path_;
  std::unique_ptr<UnitReader> units_;
  std::unique_ptr<RecordParser> parser_;
  SkipReport skipped_;
  std::int64_t good_ = 0;
};

}  // namespace

void add_skipped(SkipReport& skipped, const SkipReport& more) {
  skipped.count += more.count;
  for (const std::string& place : more.first)
    if (skipped.first.size() < kReportedPlaces) skipped.first.push_back(place);
}

std::unique_ptr<RecordSource> make_record_source(std::filesystem::path path,
                                                 std::unique_ptr<UnitReader> units,
                                                 std::unique_ptr<RecordParser> parser) {
  return std::make_unique<RecordReader>(std::move(path), std::move(units), std::move(parser));
}

}  // namespace retort
