#include "report/results.h"

#include <algorithm>

#include "report/html.h"

namespace retort {
namespace {

ResultColumn read_column(const Json& json) {
  ResultColumn column{text_part(json, "key"), text_part(json, "title"), text_part(json, "unit")};
  if (column.title.empty()) column.title = column.key;
  const std::string better = text_part(json, "better");
  if (better == "high") column.better = ResultColumn::Better::high;
  if (better == "low") column.better = ResultColumn::Better::low;
  if (const std::optional<double> digits = number(part(json, "digits")))
    column.digits = static_cast<std::int64_t>(std::clamp(*digits, -1.0, 12.0));
  return column;
}

void mark_best(Results& results, std::size_t column) {
  std::vector<double> values;
  for (const ResultRow& row : results.rows)
    if (row.cells[column].value) values.push_back(*row.cells[column].value);
  if (values.empty()) return;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low == *high) return;
  const double best = results.columns[column].better == ResultColumn::Better::high ? *high : *low;
  for (ResultRow& row : results.rows) row.cells[column].best = row.cells[column].value == best;
}

}  // namespace

Results read_results(const Json& table) {
  Results results;
  for (const Json& column : list_part(table, "columns")) results.columns.push_back(read_column(column));
  for (const Json& json : list_part(table, "rows")) {
    ResultRow row{text_part(json, "name"), text_part(json, "note"), {}};
    for (const ResultColumn& column : results.columns) {
      ResultCell cell;
      cell.value = number(part(part(json, "values"), column.key.c_str()));
      const Json& interval = list_part(part(json, "intervals"), column.key.c_str());
      if (interval.size() == 2) {
        const std::optional<double> low = number(interval[0]), high = number(interval[1]);
        if (low && high) cell.interval = {*low, *high};
      }
      row.cells.push_back(cell);
    }
    results.rows.push_back(std::move(row));
  }
  for (std::size_t i = 0; i < results.columns.size(); ++i)
    if (results.columns[i].better != ResultColumn::Better::none) mark_best(results, i);
  return results;
}

}  // namespace retort
