// A template's source → its statements.
#pragma once

#include <string>
#include <string_view>

#include "data/jinja/syntax.h"

namespace retort::jinja {

// Throws Error naming `where` and the line.
Block parse_template(std::string_view source, const std::string& where);

}  // namespace retort::jinja
