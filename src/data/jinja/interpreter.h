// Runs a template's statements.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/jinja/runtime.h"
#include "data/jinja/syntax.h"

namespace retort::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

// Throws Error naming the runtime's template and the line.
std::string render(const Block& block, Variables variables, Runtime& runtime);

}  // namespace retort::jinja
