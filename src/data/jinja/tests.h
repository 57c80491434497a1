// value is test(arguments)
#pragma once

#include <string_view>

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

using Test = bool (*)(Runtime&, const Value&, const Arguments&);

// Null: there is none of that name.
Test find_test(std::string_view name);

}  // namespace retort::jinja
