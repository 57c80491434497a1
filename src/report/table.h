// report.json's "table" for a terminal, and for a page of documentation.
#pragma once

#include <string>

#include "base/json.h"

namespace retort {

// Columns aligned (East Asian characters are two cells wide), a star at the best value of a column; "" for an
// empty table.
std::string render_table(const Json& table);
// A Markdown table, the best value of a column bold, intervals in brackets.
std::string render_markdown(const Json& table);

}  // namespace retort
