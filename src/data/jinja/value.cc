#include "data/jinja/value.h"

#include <algorithm>

#include "base/error.h"
#include "data/jinja/runtime.h"

namespace retort::jinja {

const Value* Arguments::find(std::size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [key, value] : named)
    if (key == name) return &value;
  return nullptr;
}

bool Arguments::truthy(std::size_t place, std::string_view name) const {
  const Value* value = find(place, name);
  return value != nullptr && value->truthy();
}

namespace {

int checked(int nesting) {
  if (nesting > Value::kMaxNesting)
    throw Error({.where = "chat template",
                 .found = "lists in lists beyond 300 levels",
                 .expected = "fewer",
                 .advice = ""});
  return nesting;
}

}  // namespace

Value::Value(std::string text) : held_(std::make_shared<const std::string>(std::move(text))) {}

Value::Value(Namespace* space) : held_(space) {}

Value::Value(List items) {
  int inner = 0;
  for (const Value& item : items) inner = std::max(inner, item.nesting());
  held_ = std::make_shared<const ListBox>(ListBox{std::move(items), checked(inner + 1), false});
}

Value Value::tuple(List items) {
  Value value(std::move(items));
  auto box = std::make_shared<ListBox>(*std::get<std::shared_ptr<const ListBox>>(value.held_));
  box->tuple = true;
  value.held_ = std::shared_ptr<const ListBox>(std::move(box));
  return value;
}

bool Value::is_tuple() const {
  const std::shared_ptr<const ListBox>* box = std::get_if<std::shared_ptr<const ListBox>>(&held_);
  return box != nullptr && (*box)->tuple;
}

Value::Value(Dict entries) {
  int inner = 0;
  for (const auto& [key, item] : entries) inner = std::max({inner, key.nesting(), item.nesting()});
  held_ = std::make_shared<const DictBox>(DictBox{std::move(entries), checked(inner + 1)});
}

Value::Value(Function function) {
  const int nesting = checked(function.nesting + 1);
  held_ = std::make_shared<const FunctionBox>(FunctionBox{std::move(function), nesting});
}

Value::Value(Loop loop) {
  const int nesting = checked(loop.items.nesting() + 1);
  held_ = std::make_shared<const LoopBox>(LoopBox{std::move(loop), nesting});
}

int Value::nesting() const {
  return std::visit(
      [](const auto& held) {
        if constexpr (requires { held->nesting; })
          return held->nesting;
        else
          return 0;
      },
      held_);
}

Value::Value(const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean:
      held_ = json.get<bool>();
      break;
    case Json::value_t::number_integer:
      held_ = json.get<std::int64_t>();
      break;
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() <= INT64_MAX)
        held_ = json.get<std::int64_t>();
      else
        held_ = json.get<double>();
      break;
    case Json::value_t::number_float:
      held_ = json.get<double>();
      break;
    case Json::value_t::string:
      *this = Value(json.get<std::string>());
      break;
    case Json::value_t::array: {
      List items;
      for (const Json& item : json) items.emplace_back(item);
      *this = Value(std::move(items));
      break;
    }
    case Json::value_t::object: {
      Dict entries;
      for (const auto& [key, item] : json.items()) entries.emplace_back(Value(key), Value(item));
      *this = Value(std::move(entries));
      break;
    }
    default:
      held_ = nullptr;
  }
}

double Value::as_real() const {
  if (const double* value = real()) return *value;
  return static_cast<double>(as_integer());
}

std::int64_t Value::as_integer() const {
  if (const bool* value = boolean()) return *value ? 1 : 0;
  return *integer();
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_real() != 0;
  if (const std::string* value = text()) return !value->empty();
  if (const List* value = list()) return !value->empty();
  if (const Dict* value = dict()) return !value->empty();
  return true;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "none";
  if (boolean() != nullptr) return "bool";
  if (integer() != nullptr) return "int";
  if (real() != nullptr) return "float";
  if (text() != nullptr) return "str";
  if (list() != nullptr) return "list";
  if (dict() != nullptr) return "dict";
  if (function() != nullptr) return "function";
  return loop() != nullptr ? "loop" : "namespace";
}

Value undefined(std::string what) {
  return Value(Undefined{std::make_shared<const std::string>(std::move(what))});
}

const Value* find(Runtime& runtime, const Dict& dict, const Value& key) {
  runtime.spend(static_cast<std::int64_t>(dict.size() / 8));
  for (const auto& [name, value] : dict)
    if (equal(runtime, name, key)) return &value;
  return nullptr;
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_whole() && b.is_whole()) return a.as_integer() == b.as_integer();
  if (a.is_number() && b.is_number()) return a.as_real() == b.as_real();
  if (a.text() != nullptr && b.text() != nullptr) return *a.text() == *b.text();
  if (a.list() != nullptr && b.list() != nullptr) {
    if (a.list() == b.list()) return true;
    if (a.list()->size() != b.list()->size() || a.is_tuple() != b.is_tuple()) return false;
    runtime.spend(static_cast<std::int64_t>(a.list()->size()));
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(),
                      [&](const Value& x, const Value& y) { return equal(runtime, x, y); });
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    if (a.dict() == b.dict()) return true;
    if (a.dict()->size() != b.dict()->size()) return false;
    runtime.spend(static_cast<std::int64_t>(a.dict()->size()));
    return std::all_of(a.dict()->begin(), a.dict()->end(), [&](const auto& entry) {
      const Value* other = find(runtime, *b.dict(), entry.first);
      return other != nullptr && equal(runtime, entry.second, *other);
    });
  }
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.function() != nullptr) return a.function() == b.function();
  return a.name_space() != nullptr && a.name_space() == b.name_space();
}

}  // namespace retort::jinja
