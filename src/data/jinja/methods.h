// Methods of texts, maps and lists, and what `loop` offers.
#pragma once

#include <optional>
#include <string>

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

// object.name, ready to be called. None if the type has no such method; methods that change their object fail
// when called.
std::optional<Function> find_method(const Value& object, const std::string& name);
Value loop_attribute(Runtime& runtime, const Loop& loop, const std::string& name);

}  // namespace retort::jinja
