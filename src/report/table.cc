#include "report/table.h"

#include <utf8proc.h>

#include <algorithm>

#include "report/html.h"
#include "report/results.h"

namespace retort {
namespace {

// One printable line: control characters (a terminal would obey them) and invalid bytes become U+FFFD.
std::string printable(std::string_view text, std::size_t& cells) {
  std::string out;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  cells = 0;
  while (left > 0) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t used = std::max<utf8proc_ssize_t>(utf8proc_iterate(at, left, &c), 1);
    const utf8proc_category_t category = c < 0 ? UTF8PROC_CATEGORY_CC : utf8proc_category(c);
    if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF)
      out += "\ufffd", ++cells;
    else
      out.append(reinterpret_cast<const char*>(at), static_cast<std::size_t>(used)),
          cells += static_cast<std::size_t>(utf8proc_charwidth(c));
    at += used;
    left -= used;
  }
  return out;
}

struct TextCell {
  std::string text;
  std::size_t cells = 0;
  explicit TextCell(std::string_view raw) { text = printable(raw, cells); }
};

using TextColumn = std::vector<TextCell>;

// Text of a cell: no bar that would end it.
std::string markdown_text(std::string_view raw) {
  std::size_t cells = 0;
  std::string text;
  for (const char c : printable(raw, cells)) text += c == '|' ? std::string("\\|") : std::string(1, c);
  return text;
}

}  // namespace

std::string render_markdown(const Json& table) {
  const Results results = read_results(table);
  if (results.rows.empty() || results.columns.empty()) return "";
  std::string head = "| |", rule = "|---|";
  for (const ResultColumn& column : results.columns) {
    head += " " + markdown_text(column.title) +
            (column.unit.empty() ? "" : ", " + markdown_text(column.unit)) + " |";
    rule += "---:|";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const ResultRow& row : results.rows) {
    text += "| " + markdown_text(row.name) + " |";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const ResultCell& cell = row.cells[i];
      const auto number = [&](double value) { return format_number(value, results.columns[i].digits, "-"); };
      std::string shown = cell.value ? number(*cell.value) : "";
      if (cell.best) shown = "**" + shown + "**";
      if (cell.value && cell.interval)
        shown += " [" + number(cell.interval->first) + ", " + number(cell.interval->second) + "]";
      text += " " + shown + " |";
    }
    text += "\n";
  }
  return text;
}

std::string render_table(const Json& table) {
  const Results results = read_results(table);
  if (results.rows.empty() || results.columns.empty()) return "";
  std::vector<TextColumn> columns(1);
  columns[0] = {TextCell(""), TextCell("")};
  bool any_unit = false;
  for (const ResultRow& row : results.rows) columns[0].emplace_back(row.name);
  for (std::size_t i = 0; i < results.columns.size(); ++i) {
    const ResultColumn& column = results.columns[i];
    TextColumn out = {TextCell(column.title), TextCell(column.unit)};
    any_unit |= !column.unit.empty();
    // A space after plain values keeps the digits aligned with those that carry a star.
    const bool starred = std::any_of(results.rows.begin(), results.rows.end(),
                                     [&](const ResultRow& r) { return r.cells[i].best; });
    for (const ResultRow& row : results.rows) {
      const ResultCell& cell = row.cells[i];
      out.emplace_back((cell.value ? format_number(*cell.value, column.digits, "-") : "-") +
                       (starred ? cell.best ? "*" : " " : ""));
    }
    columns.push_back(std::move(out));
  }

  std::string text;
  for (std::size_t line = 0; line < columns[0].size(); ++line) {
    if (line == 1 && !any_unit) continue;
    std::string row;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      std::size_t width = 0;
      for (const TextCell& cell : columns[c]) width = std::max(width, cell.cells);
      const std::string padding(width - columns[c][line].cells, ' ');
      row += c == 0 ? columns[c][line].text + padding : "  " + padding + columns[c][line].text;
    }
    while (!row.empty() && row.back() == ' ') row.pop_back();
    text += row + "\n";
  }
  return text;
}

}  // namespace retort
