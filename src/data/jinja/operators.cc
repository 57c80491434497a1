#include "data/jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/jinja/methods.h"
#include "data/jinja/text.h"

namespace retort::jinja {
namespace {

[[noreturn]] void fail_types(Runtime& runtime, std::string_view op, const Value& left, const Value& right) {
  if (left.is_undefined()) fail_undefined(runtime, left);
  if (right.is_undefined()) fail_undefined(runtime, right);
  runtime.fail(fmt::format("{} {} {}", left.type_name(), op, right.type_name()), "operands that fit");
}

Value whole_arithmetic(Runtime& runtime, std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (op == "+" && !__builtin_add_overflow(a, b, &result)) return result;
  if (op == "-" && !__builtin_sub_overflow(a, b, &result)) return result;
  if (op == "*" && !__builtin_mul_overflow(a, b, &result)) return result;
  if ((op == "//" || op == "%") && b != 0 && b != -1) {
    // Python rounds down, C++ towards zero.
    const bool down = a % b != 0 && (a % b < 0) != (b < 0);
    return op == "%" ? a % b + (down ? b : 0) : a / b - (down ? 1 : 0);
  }
  if (op == "%" && b == -1) return std::int64_t{0};
  if (op == "//" && b == -1 && !__builtin_sub_overflow(std::int64_t{0}, a, &result)) return result;
  if (op == "**" && b >= 0) {
    result = 1;
    bool fits = true;
    if (a == 0 || a == 1 || a == -1) return b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a;
    for (std::int64_t i = 0; i < b && fits; ++i) fits = !__builtin_mul_overflow(result, a, &result);
    if (fits) return result;
  }
  if (op == "**" && b < 0 && a != 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
  runtime.fail(fmt::format("{} {} {}", a, op, b), "a result that fits");
}

Value real_arithmetic(Runtime& runtime, std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) runtime.fail("a division by zero");
  if (op == "/") return a / b;
  const double floor = std::floor(a / b);
  return op == "//" ? floor : a - floor * b;
}

Value repeat(Runtime& runtime, const Value& value, std::int64_t times) {
  times = std::max<std::int64_t>(times, 0);
  const auto size =
      static_cast<std::int64_t>(value.text() != nullptr ? value.text()->size() : value.list()->size());
  std::int64_t total = 0;
  if (__builtin_mul_overflow(size, times, &total)) runtime.fail("a repetition that has no end");
  runtime.spend(value.text() != nullptr ? total / 16 : total);
  if (value.text() != nullptr) {
    std::string result;
    result.reserve(static_cast<std::size_t>(total));
    if (total > 0)
      for (std::int64_t i = 0; i < times; ++i) result += *value.text();
    return result;
  }
  List result;
  if (total > 0)
    for (std::int64_t i = 0; i < times; ++i)
      result.insert(result.end(), value.list()->begin(), value.list()->end());
  return result;
}

// "%s and %d" % values, of which templates use the plain conversions.
Value format_percent(Runtime& runtime, const std::string& pattern, const Value& values) {
  const List several = values.is_tuple() ? *values.list() : List{values};
  std::string result;
  std::size_t next = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%' || i + 1 >= pattern.size()) {
      result += pattern[i];
      continue;
    }
    std::size_t digits = ++i;
    int precision = 6;
    if (pattern[i] == '.' && i + 1 < pattern.size() && pattern[i + 1] >= '0' && pattern[i + 1] <= '9') {
      precision = pattern[i + 1] - '0';
      i += 2;
    }
    if (i >= pattern.size())
      runtime.fail(fmt::format("the format '{}'", pattern.substr(digits - 1)), "%s, %d, %f or %r");
    if (pattern[i] == '%') {
      result += '%';
      continue;
    }
    if (next >= several.size()) runtime.fail("fewer values than the format has places");
    const Value& value = several[next++];
    if (pattern[i] == 's')
      result += to_text(runtime, value);
    else if (pattern[i] == 'r')
      result += repr(runtime, value);
    else if ((pattern[i] == 'd' || pattern[i] == 'i') && value.is_number())
      result += value.is_whole() ? std::to_string(value.as_integer())
                                 : fmt::format("{:.0f}", std::trunc(value.as_real()));
    else if (pattern[i] == 'f' && value.is_number())
      result += fmt::format("{:.{}f}", value.as_real(), precision);
    else
      runtime.fail(fmt::format("the format '%{}' for a {}", pattern[i], value.type_name()),
                   "%s, %d, %f or %r");
    runtime.spend_bytes(result.size());
  }
  const bool optional = values.dict() != nullptr || (values.list() != nullptr && !values.is_tuple());
  if (next < several.size() && !optional) runtime.fail("more values than the format has places");
  return result;
}

std::int64_t clamped_index(const Value& value, std::int64_t size, std::int64_t low, std::int64_t high) {
  const std::int64_t at = value.as_integer();
  return std::clamp(at < 0 && at > -size - 2 ? at + size : at, low, high);
}

}  // namespace

void fail_undefined(Runtime& runtime, const Value& value) {
  runtime.fail(*value.undefined()->what, "a value");
}

const std::string& expect_text(Runtime& runtime, const Value& value, std::string_view what) {
  if (value.text() == nullptr) runtime.fail(fmt::format("a {} for {}", value.type_name(), what), "a text");
  return *value.text();
}

std::int64_t expect_integer(Runtime& runtime, const Value& value, std::string_view what) {
  if (!value.is_whole()) runtime.fail(fmt::format("a {} for {}", value.type_name(), what), "a whole number");
  return value.as_integer();
}

Value arithmetic(Runtime& runtime, std::string_view op, const Value& left, const Value& right) {
  if (op == "~") {
    std::string joined = to_text(runtime, left) + to_text(runtime, right);
    runtime.spend_bytes(joined.size());
    return joined;
  }
  if (op == "+" && left.text() != nullptr && right.text() != nullptr) {
    runtime.spend_bytes(left.text()->size() + right.text()->size());
    return *left.text() + *right.text();
  }
  if (op == "+" && left.list() != nullptr && right.list() != nullptr && left.is_tuple() == right.is_tuple()) {
    List joined = *left.list();
    runtime.spend(static_cast<std::int64_t>(joined.size() + right.list()->size()));
    joined.insert(joined.end(), right.list()->begin(), right.list()->end());
    return left.is_tuple() ? Value::tuple(std::move(joined)) : Value(std::move(joined));
  }
  if (op == "%" && left.text() != nullptr) return format_percent(runtime, *left.text(), right);
  const auto repeatable = [](const Value& value) {
    return value.text() != nullptr || value.list() != nullptr;
  };
  if (op == "*" && repeatable(left) && right.is_whole()) return repeat(runtime, left, right.as_integer());
  if (op == "*" && repeatable(right) && left.is_whole()) return repeat(runtime, right, left.as_integer());
  if (!left.is_number() || !right.is_number()) fail_types(runtime, op, left, right);
  if (left.is_whole() && right.is_whole() && op != "/")
    return whole_arithmetic(runtime, op, left.as_integer(), right.as_integer());
  return real_arithmetic(runtime, op, left.as_real(), right.as_real());
}

bool less(Runtime& runtime, const Value& left, const Value& right) {
  runtime.spend(1);
  if (left.is_whole() && right.is_whole()) return left.as_integer() < right.as_integer();
  if (left.is_number() && right.is_number()) return left.as_real() < right.as_real();
  // UTF-8 sorts as code points do.
  if (left.text() != nullptr && right.text() != nullptr) return *left.text() < *right.text();
  if (left.list() == nullptr || right.list() == nullptr) fail_types(runtime, "<", left, right);
  for (std::size_t i = 0; i < left.list()->size() && i < right.list()->size(); ++i) {
    const Value &a = (*left.list())[i], &b = (*right.list())[i];
    if (!equal(runtime, a, b)) return less(runtime, a, b);
  }
  return left.list()->size() < right.list()->size();
}

bool compare(Runtime& runtime, std::string_view op, const Value& left, const Value& right) {
  if (op == "==") return equal(runtime, left, right);
  if (op == "!=") return !equal(runtime, left, right);
  if (op == "<") return less(runtime, left, right);
  if (op == ">") return less(runtime, right, left);
  if (op == "<=") return less(runtime, left, right) || equal(runtime, left, right);
  if (op == ">=") return less(runtime, right, left) || equal(runtime, left, right);
  if (op == "not in") return !compare(runtime, "in", left, right);
  if (right.text() != nullptr) {
    if (left.text() == nullptr) fail_types(runtime, op, left, right);
    runtime.spend_bytes(right.text()->size());
    return right.text()->find(*left.text()) != std::string::npos;
  }
  if (right.dict() != nullptr) return find(runtime, *right.dict(), left) != nullptr;
  if (right.is_undefined()) return false;
  if (right.list() == nullptr) fail_types(runtime, op, left, right);
  runtime.spend(static_cast<std::int64_t>(right.list()->size()));
  return std::any_of(right.list()->begin(), right.list()->end(),
                     [&](const Value& item) { return equal(runtime, item, left); });
}

Value attribute_of(Runtime& runtime, const Value& object, const std::string& name) {
  if (object.is_undefined()) fail_undefined(runtime, object);
  if (const Namespace* space = object.name_space()) {
    for (const auto& [key, value] : space->attributes)
      if (key == name) return value;
    return undefined(fmt::format("a namespace without '{}'", name));
  }
  if (const Loop* loop = object.loop()) return loop_attribute(runtime, *loop, name);
  if (auto method = find_method(object, name)) return Value(std::move(*method));
  return item_of(runtime, object, Value(name));
}

Value item_of(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) fail_undefined(runtime, object);
  if (const Dict* dict = object.dict())
    if (const Value* value = find(runtime, *dict, key)) return *value;
  if ((object.list() != nullptr || object.text() != nullptr) && key.is_whole()) {
    const std::int64_t size = length_of(runtime, object), index = key.as_integer();
    const std::int64_t at = index < 0 ? index + size : index;
    if (at >= 0 && at < size) {
      if (object.list() != nullptr) return (*object.list())[static_cast<std::size_t>(at)];
      return characters(*object.text())[static_cast<std::size_t>(at)];
    }
  }
  if (key.text() != nullptr) {
    if (object.name_space() != nullptr || object.loop() != nullptr)
      return attribute_of(runtime, object, *key.text());
    if (auto method = find_method(object, *key.text())) return Value(std::move(*method));
  }
  return undefined(fmt::format("a {} without {}", object.type_name(),
                               key.text() != nullptr || key.is_number() ? repr(runtime, key) : "such a key"));
}

Value slice_of(Runtime& runtime, const Value& object, const Value& first, const Value& last,
               const Value& step_value) {
  if (object.is_undefined()) fail_undefined(runtime, object);
  if (object.list() == nullptr && object.text() == nullptr)
    runtime.fail(fmt::format("a slice of a {}", object.type_name()), "one of a list or text");
  for (const Value* part : {&first, &last, &step_value})
    if (!part->is_none()) expect_integer(runtime, *part, "a slice");
  const std::int64_t size = length_of(runtime, object);
  const std::int64_t step =
      step_value.is_none() ? 1 : std::clamp<std::int64_t>(step_value.as_integer(), -size - 1, size + 1);
  if (step == 0 && !step_value.is_none() && step_value.as_integer() == 0) runtime.fail("a slice of step 0");
  const bool up = step > 0;
  std::int64_t at =
      first.is_none() ? (up ? 0 : size - 1) : clamped_index(first, size, up ? 0 : -1, up ? size : size - 1);
  const std::int64_t end =
      last.is_none() ? (up ? size : -1) : clamped_index(last, size, up ? 0 : -1, up ? size : size - 1);
  runtime.spend(size);
  if (object.text() != nullptr) {
    const std::vector<std::string_view> letters = characters(*object.text());
    std::string result;
    for (; up ? at < end : at > end; at += step) result += letters[static_cast<std::size_t>(at)];
    return result;
  }
  List result;
  for (; up ? at < end : at > end; at += step)
    result.push_back((*object.list())[static_cast<std::size_t>(at)]);
  return object.is_tuple() ? Value::tuple(std::move(result)) : Value(std::move(result));
}

List items_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return {};
  List result;
  if (value.list() != nullptr) {
    result = *value.list();
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, unused] : *dict) result.push_back(key);
  } else if (const std::string* text = value.text()) {
    for (const std::string_view letter : characters(*text)) result.emplace_back(letter);
  } else {
    runtime.fail(fmt::format("a {}", value.type_name()), "a list, map or text to go through");
  }
  runtime.spend(static_cast<std::int64_t>(result.size()));
  return result;
}

std::int64_t length_of(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.list() != nullptr) return static_cast<std::int64_t>(value.list()->size());
  if (value.dict() != nullptr) return static_cast<std::int64_t>(value.dict()->size());
  if (value.loop() != nullptr) return static_cast<std::int64_t>(value.loop()->items.list()->size());
  if (value.text() == nullptr)
    runtime.fail(fmt::format("the length of a {}", value.type_name()), "one of a list, map or text");
  runtime.spend_bytes(value.text()->size());
  return static_cast<std::int64_t>(length(*value.text()));
}

}  // namespace retort::jinja
