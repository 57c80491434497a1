// The syntax tree of a template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja/value.h"

namespace retort::jinja {

struct Node;
using Expression = std::unique_ptr<Node>;

// What its children are stands behind each kind; `name` in quotes.
struct Node {
  enum class Kind {
    constant,     // value
    variable,     // "name"
    list,         // items; "(" if it is a tuple
    dict,         // key, value, key, value …
    negate,       // operand; "-" or "+"
    invert,       // operand: not
    arithmetic,   // left, right; "+" "-" "*" "/" "//" "%" "**" "~"
    both,         // left, right: and
    either,       // left, right: or
    compare,      // first, then one for each of `operators`
    conditional,  // condition, value, otherwise (may be null)
    attribute,    // object; "name"
    item,         // object, key
    slice,        // object, first, last, step (each may be null)
    call,         // function, then arguments
    filter,       // value (null at the start of a filter block), then arguments; "name"
    test          // value, then arguments; "name"
  };
  Kind kind;
  int line = 0;
  int height = 1;  // of the tree below
  std::string name;
  Value value;
  std::vector<Expression> children;
  std::vector<std::string> operators;                     // of compare: "==" … "in" "not in"
  std::vector<std::pair<std::string, Expression>> named;  // keyword arguments
  std::vector<std::pair<std::size_t, bool>> spread;       // children that are *list; true: **dict
};

struct Statement;
using Block = std::vector<Statement>;

// A variable, several that a list is taken apart into, or an attribute of a namespace.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;
};

struct Parameter {
  std::string name;
  Expression fallback;  // may be null
};

struct Statement {
  enum class Kind {
    text,       // text
    print,      // expression
    loop,       // target, expression, condition (may be null), body, otherwise
    branch,     // branches of condition and body; a null condition is else
    set,        // target, expression
    set_block,  // target, filter (may be null), body
    macro,      // text is its name; parameters, body
    call,       // expression is a call, parameters are the caller's, body
    filter,     // filter, body
    with,       // assignments, body
    leave,      // break
    proceed     // continue
  };
  Kind kind;
  int line = 0;
  std::string text;
  Target target;
  Expression expression, condition, filter;
  Block body, otherwise;
  std::vector<std::pair<Expression, Block>> branches;
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, Expression>> assignments;
};

}  // namespace retort::jinja
