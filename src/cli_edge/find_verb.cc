#include "base/error.h"
#include "cli_edge/verb.h"

namespace retort {

const VerbRow& find_verb(std::span<const VerbRow> rows, std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const VerbRow& row : rows) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw Error({.where = where,
               .found = "unknown verb '" + std::string(name) + "'",
               .expected = "",
               .advice = suggest(name, names)});
}

}  // namespace retort
