#include "data/jinja/tests.h"

#include <fmt/format.h>

#include "data/jinja/filters.h"
#include "data/jinja/operators.h"
#include "data/jinja/text.h"

namespace retort::jinja {
namespace {

const Value& other(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.empty()) runtime.fail("a test without what it compares with");
  return arguments.positional[0];
}

template <char Kind>
bool compared(Runtime& runtime, const Value& value, const Arguments& arguments) {
  constexpr std::string_view op = Kind == 'e'   ? "=="
                                  : Kind == 'n' ? "!="
                                  : Kind == 'l' ? "<"
                                  : Kind == 'L' ? "<="
                                  : Kind == 'g' ? ">"
                                  : Kind == 'G' ? ">="
                                                : "in";
  return compare(runtime, op, value, other(runtime, arguments));
}

bool leaves(Runtime& runtime, const Value& value, const Value& by, int remainder) {
  if (value.text() != nullptr) runtime.fail("a text in a test of divisibility", "a number");
  return equal(runtime, arithmetic(runtime, "%", value, by), remainder);
}

bool is_sequence(Runtime&, const Value& v, const Arguments&) {
  return v.list() != nullptr || v.text() != nullptr || v.dict() != nullptr || v.is_undefined();
}

struct Entry {
  std::string_view name;
  Test test;
};

constexpr Entry kTests[] = {
    {"!=", compared<'n'>},
    {"<", compared<'l'>},
    {"<=", compared<'L'>},
    {"==", compared<'e'>},
    {">", compared<'g'>},
    {">=", compared<'G'>},
    {"boolean", [](Runtime&, const Value& v, const Arguments&) { return v.boolean() != nullptr; }},
    {"callable", [](Runtime&, const Value& v, const Arguments&) { return v.function() != nullptr; }},
    {"defined", [](Runtime&, const Value& v, const Arguments&) { return !v.is_undefined(); }},
    {"divisibleby",
     [](Runtime& r, const Value& v, const Arguments& a) { return leaves(r, v, other(r, a), 0); }},
    {"eq", compared<'e'>},
    {"equalto", compared<'e'>},
    {"even", [](Runtime& r, const Value& v, const Arguments&) { return leaves(r, v, 2, 0); }},
    {"false",
     [](Runtime&, const Value& v, const Arguments&) { return v.boolean() != nullptr && !*v.boolean(); }},
    {"filter", [](Runtime&, const Value& v,
                  const Arguments&) { return v.text() != nullptr && find_filter(*v.text()) != nullptr; }},
    {"float", [](Runtime&, const Value& v, const Arguments&) { return v.real() != nullptr; }},
    {"ge", compared<'G'>},
    {"greaterthan", compared<'g'>},
    {"gt", compared<'g'>},
    {"in", compared<'i'>},
    {"integer", [](Runtime&, const Value& v, const Arguments&) { return v.integer() != nullptr; }},
    {"iterable", is_sequence},
    {"le", compared<'L'>},
    {"lessthan", compared<'l'>},
    {"lower",
     [](Runtime& r, const Value& v, const Arguments&) {
       const std::string t = to_text(r, v);
       return t == lower(t) && t != upper(t);
     }},
    {"lt", compared<'l'>},
    {"mapping", [](Runtime&, const Value& v, const Arguments&) { return v.dict() != nullptr; }},
    {"ne", compared<'n'>},
    {"none", [](Runtime&, const Value& v, const Arguments&) { return v.is_none(); }},
    {"number", [](Runtime&, const Value& v, const Arguments&) { return v.is_number(); }},
    {"odd", [](Runtime& r, const Value& v, const Arguments&) { return leaves(r, v, 2, 1); }},
    {"sameas",
     [](Runtime& r, const Value& v, const Arguments& a) {
       return v.type_name() == other(r, a).type_name() && equal(r, v, other(r, a));
     }},
    {"sequence", is_sequence},
    {"string", [](Runtime&, const Value& v, const Arguments&) { return v.text() != nullptr; }},
    {"test", [](Runtime&, const Value& v,
                const Arguments&) { return v.text() != nullptr && find_test(*v.text()) != nullptr; }},
    {"true",
     [](Runtime&, const Value& v, const Arguments&) { return v.boolean() != nullptr && *v.boolean(); }},
    {"undefined", [](Runtime&, const Value& v, const Arguments&) { return v.is_undefined(); }},
    {"upper",
     [](Runtime& r, const Value& v, const Arguments&) {
       const std::string t = to_text(r, v);
       return t == upper(t) && t != lower(t);
     }},
};

}  // namespace

Test find_test(std::string_view name) {
  for (const Entry& entry : kTests)
    if (entry.name == name) return entry.test;
  return nullptr;
}

}  // namespace retort::jinja
