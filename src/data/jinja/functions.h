// The functions that every template can call.
#pragma once

#include <optional>
#include <string>

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

// range, dict, namespace, raise_exception, strftime_now. None: there is no such function.
std::optional<Function> find_function(const std::string& name);

}  // namespace retort::jinja
