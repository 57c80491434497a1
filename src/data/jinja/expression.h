// Jinja expressions over Json values: parsed once, evaluated against variables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace retort::jinja {

// What a render may cost at most, so that a hostile template ends in an Error.
struct Budget {
  std::int64_t operations = 2'000'000;
  std::int64_t output_bytes = 16 << 20;
};

// Variables by name, inner scopes after outer ones. Undefined values are Json's discarded value (see undefined()).
struct Scope {
  std::vector<std::pair<std::string, Json>> variables;
  Budget budget;

  void spend(std::int64_t operations);  // throws Error when the budget is used up
  const Json* find(std::string_view name) const;
  void set(std::string_view name, Json value);  // replaces the innermost of that name at or above `floor`, else adds
  std::size_t floor = 0;
};

struct Node;
using Expression = std::shared_ptr<const Node>;

// Throws Error naming `where`.
Expression parse_expression(std::string_view text, const std::string& where);
Json evaluate(const Expression& expression, Scope& scope);

Json undefined();
bool is_undefined(const Json& value);
bool truthy(const Json& value);
std::string to_text(const Json& value);  // as {{ … }} prints it

}  // namespace retort::jinja
