// A RecordSource made of a way to cut a file into units and a way to read one unit.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/reading/units.h"
#include "data/record_source.h"

namespace retort {

class RecordParser {
 public:
  virtual ~RecordParser() = default;
  // Nothing when the unit cannot be used; `problem` then says why ("no tab").
  virtual std::optional<Record> parse(std::string_view unit, std::string& problem) = 0;
};

std::unique_ptr<RecordSource> make_record_source(std::filesystem::path path,
                                                 std::unique_ptr<UnitReader> units,
                                                 std::unique_ptr<RecordParser> parser);

// One JSON object in any of the layouts that people have (the table is in json_layouts.cc).
std::unique_ptr<RecordParser> json_record_parser();

}  // namespace retort
