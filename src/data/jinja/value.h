// Values of a template: as Python's, of which only namespaces can be changed. Copies share what they hold.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace retort::jinja {

class Value;
class Runtime;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;  // in the order of insertion

struct Undefined {
  std::shared_ptr<const std::string> what;  // for errors: "'tools' is undefined"
};

struct Arguments;
struct Function;
struct Namespace;
struct Loop;

// What values share (defined below).
struct ListBox;
struct DictBox;
struct FunctionBox;
struct LoopBox;

class Value {
 public:
  // Of lists, maps and functions; beyond it a constructor throws an Error.
  static constexpr int kMaxNesting = 300;

  Value() : held_(nullptr) {}  // none
  Value(std::nullptr_t) : held_(nullptr) {}
  Value(Undefined undefined) : held_(std::move(undefined)) {}
  Value(bool value) : held_(value) {}
  Value(int value) : held_(std::int64_t{value}) {}
  Value(std::int64_t value) : held_(value) {}
  Value(std::size_t value) : held_(static_cast<std::int64_t>(value)) {}
  Value(double value) : held_(value) {}
  Value(std::string text);
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(List items);
  Value(Dict entries);
  static Value tuple(List items);  // a list that is printed and compared as a tuple
  Value(Function function);
  Value(Loop loop);
  Value(Namespace* space);
  explicit Value(const Json& json);

  bool is_undefined() const;
  bool is_none() const;
  // Null where the value is of another type.
  const bool* boolean() const;
  const std::int64_t* integer() const;
  const double* real() const;
  const std::string* text() const;
  const List* list() const;  // a tuple too
  bool is_tuple() const;
  const Dict* dict() const;
  const Function* function() const;
  const Loop* loop() const;
  Namespace* name_space() const;
  const Undefined* undefined() const;

  bool is_number() const { return integer() != nullptr || real() != nullptr || boolean() != nullptr; }
  bool is_whole() const { return integer() != nullptr || boolean() != nullptr; }
  double as_real() const;           // of a number
  std::int64_t as_integer() const;  // of a whole number

  bool truthy() const;
  std::string_view type_name() const;  // for errors, in Python's words

  int nesting() const;  // 0: holds no values

 private:
  std::variant<std::nullptr_t, Undefined, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const ListBox>, std::shared_ptr<const DictBox>,
               std::shared_ptr<const FunctionBox>, std::shared_ptr<const LoopBox>, Namespace*>
      held_;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument of that place or name; null: not given.
  const Value* find(std::size_t place, std::string_view name) const;
  // Whether it was given and is true.
  bool truthy(std::size_t place, std::string_view name) const;
};

struct Function {
  std::string name;
  std::function<Value(Runtime&, const Arguments&)> call;
  int nesting = 0;  // of the values that it holds
};

// namespace(…): what {% set ns.name = … %} changes. Owned by the Runtime, as it may hold itself.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

// `loop` inside of a for loop.
struct Loop {
  Value items;  // a list
  std::size_t index = 0;
};

// Each with how deep values lie in each other there: what is destroyed or printed recursively must not be
// deep.
struct ListBox {
  List content;
  int nesting;
  bool tuple = false;
};
struct DictBox {
  Dict content;
  int nesting;
};
struct FunctionBox {
  Function content;
  int nesting;
};
struct LoopBox {
  Loop content;
  int nesting;
};

inline bool Value::is_undefined() const { return std::holds_alternative<Undefined>(held_); }
inline bool Value::is_none() const { return std::holds_alternative<std::nullptr_t>(held_); }
inline const bool* Value::boolean() const { return std::get_if<bool>(&held_); }
inline const std::int64_t* Value::integer() const { return std::get_if<std::int64_t>(&held_); }
inline const double* Value::real() const { return std::get_if<double>(&held_); }
inline const Undefined* Value::undefined() const { return std::get_if<Undefined>(&held_); }
inline const std::string* Value::text() const {
  const auto* held = std::get_if<std::shared_ptr<const std::string>>(&held_);
  return held == nullptr ? nullptr : held->get();
}
inline Namespace* Value::name_space() const {
  Namespace* const* space = std::get_if<Namespace*>(&held_);
  return space == nullptr ? nullptr : *space;
}
inline const List* Value::list() const {
  const auto* box = std::get_if<std::shared_ptr<const ListBox>>(&held_);
  return box == nullptr ? nullptr : &(*box)->content;
}
inline const Dict* Value::dict() const {
  const auto* box = std::get_if<std::shared_ptr<const DictBox>>(&held_);
  return box == nullptr ? nullptr : &(*box)->content;
}
inline const Function* Value::function() const {
  const auto* box = std::get_if<std::shared_ptr<const FunctionBox>>(&held_);
  return box == nullptr ? nullptr : &(*box)->content;
}
inline const Loop* Value::loop() const {
  const auto* box = std::get_if<std::shared_ptr<const LoopBox>>(&held_);
  return box == nullptr ? nullptr : &(*box)->content;
}

Value undefined(std::string what);
const Value* find(Runtime& runtime, const Dict& dict, const Value& key);  // null: not there
bool equal(Runtime& runtime, const Value& a, const Value& b);

}  // namespace retort::jinja
