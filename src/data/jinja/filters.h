// value | filter(arguments)
#pragma once

#include <string_view>

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

using Filter = Value (*)(Runtime&, const Value&, const Arguments&);

// Null: there is none of that name.
Filter find_filter(std::string_view name);

}  // namespace retort::jinja
