// What Python's operators do with values of a template.
#pragma once

#include <string_view>

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

Value arithmetic(Runtime& runtime, std::string_view op, const Value& left, const Value& right);
// "==" "!=" "<" "<=" ">" ">=" "in" "not in"
bool compare(Runtime& runtime, std::string_view op, const Value& left, const Value& right);
bool less(Runtime& runtime, const Value& left, const Value& right);  // fails for what has no order

// object.name: a method or attribute, else the entry of that name. object[key]: the other way round.
// Undefined if there is neither.
Value attribute_of(Runtime& runtime, const Value& object, const std::string& name);
Value item_of(Runtime& runtime, const Value& object, const Value& key);
Value slice_of(Runtime& runtime, const Value& object, const Value& first, const Value& last,
               const Value& step);

// The items that a for loop sees: of a list, the keys of a map, the characters of a text; none of what is
// undefined.
List items_of(Runtime& runtime, const Value& value);
std::int64_t length_of(Runtime& runtime, const Value& value);

// An argument as text or whole number, or an Error that names it.
const std::string& expect_text(Runtime& runtime, const Value& value, std::string_view what);
std::int64_t expect_integer(Runtime& runtime, const Value& value, std::string_view what);
[[noreturn]] void fail_undefined(Runtime& runtime, const Value& value);

}  // namespace retort::jinja
