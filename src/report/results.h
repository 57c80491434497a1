// report.json's "table", read once for the page and for the terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace retort {

struct ResultColumn {
  std::string key, title, unit;
  enum class Better { none, high, low } better = Better::none;
  std::int64_t digits = -1;  // -1: as the value asks
};

struct ResultCell {
  std::optional<double> value;
  std::optional<std::pair<double, double>> interval;
  bool best = false;  // the best of its column, if at least two rows have a value and they differ
};

struct ResultRow {
  std::string name, note;
  std::vector<ResultCell> cells;  // one per column
};

struct Results {
  std::vector<ResultColumn> columns;
  std::vector<ResultRow> rows;
};

Results read_results(const Json& table);

}  // namespace retort
