// Jinja's filters by name. Those that take a list apart are in list_filters.cc.
#include "data/jinja/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/jinja/list_filters.h"
#include "data/jinja/methods.h"
#include "data/jinja/operators.h"
#include "data/jinja/text.h"
#include "data/tokenizers/utf8.h"

namespace retort::jinja {
namespace {

std::int64_t number(Runtime& runtime, const Arguments& arguments, std::size_t place, std::string_view name,
                    std::int64_t fallback) {
  const Value* value = arguments.find(place, name);
  return value == nullptr ? fallback : expect_integer(runtime, *value, name);
}

std::string text(Runtime& runtime, const Arguments& arguments, std::size_t place, std::string_view name,
                 const char* fallback) {
  const Value* value = arguments.find(place, name);
  return value == nullptr ? fallback : to_text(runtime, *value);
}

Value default_filter(Runtime&, const Value& value, const Arguments& arguments) {
  const bool missing = value.is_undefined() || (arguments.truthy(1, "boolean") && !value.truthy());
  const Value* fallback = arguments.find(0, "default_value");
  return !missing ? value : fallback != nullptr ? *fallback : Value("");
}

Value to_json_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  JsonOptions options;
  options.ensure_ascii = arguments.truthy(0, "ensure_ascii");
  options.sort_keys = arguments.truthy(3, "sort_keys");
  if (const Value* indent = arguments.find(1, "indent"); indent != nullptr && !indent->is_none()) {
    options.indent = indent->text() != nullptr
                         ? *indent->text()
                         : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(
                                           expect_integer(runtime, *indent, "indent"), 0, 64)),
                                       ' ');
    options.item_separator = ",";
  }
  if (const Value* separators = arguments.find(2, "separators");
      separators != nullptr && !separators->is_none()) {
    const List pair = items_of(runtime, *separators);
    if (pair.size() != 2) runtime.fail(fmt::format("{} separators", pair.size()), "two");
    options.item_separator = expect_text(runtime, pair[0], "separators");
    options.key_separator = expect_text(runtime, pair[1], "separators");
  }
  return to_json(runtime, value, options);
}

Value trim_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string whole = to_text(runtime, value);
  const Value* set = arguments.find(0, "chars");
  return strip(whole, set == nullptr || set->is_none() ? nullptr : &expect_text(runtime, *set, "trim"), true,
               true);
}

Value indent_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value* width = arguments.find(0, "width");
  const std::string indent = width != nullptr && width->text() != nullptr
                                 ? *width->text()
                                 : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(
                                                   number(runtime, arguments, 0, "width", 4), 0, 1000)),
                                               ' ');
  const bool first = arguments.truthy(1, "first"), blank = arguments.truthy(2, "blank");
  // So that a line end at the end is kept.
  const std::string whole = expect_text(runtime, value, "indent") + "\n";
  std::string result;
  bool at_first = true;
  for (const std::string_view line : split_lines(whole, false)) {
    if (!at_first) result += '\n';
    if (at_first ? first : blank || !line.empty()) result += indent;
    at_first = false;
    result += line;
    runtime.spend_bytes(indent.size() + line.size());
  }
  return result;
}

Value title_filter(Runtime& runtime, const Value& value, const Arguments&) {
  const std::string whole = to_text(runtime, value);
  std::string result;
  bool begins = true;
  for (const std::string_view c : characters(whole)) {
    const bool separator =
        is_space(code_point_at(c, 0).value) || c == "-" || c == "(" || c == "{" || c == "[" || c == "<";
    result += separator ? std::string(c) : begins ? upper(c) : lower(c);
    begins = separator;
  }
  return result;
}

Value replace_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string whole = to_text(runtime, value), from = text(runtime, arguments, 0, "old", ""),
                    to = text(runtime, arguments, 1, "new", "");
  if (from.size() < to.size())
    runtime.spend_bytes((whole.size() + 1) * to.size() / std::max<std::size_t>(from.size(), 1));
  const Value* count = arguments.find(2, "count");
  return replace(whole, from, to,
                 count == nullptr || count->is_none() ? -1 : expect_integer(runtime, *count, "count"));
}

Value escape_filter(Runtime& runtime, const Value& value, const Arguments&) {
  std::string result;
  for (const char c : to_text(runtime, value))
    result += c == '&'    ? "&amp;"
              : c == '<'  ? "&lt;"
              : c == '>'  ? "&gt;"
              : c == '"'  ? "&#34;"
              : c == '\'' ? "&#39;"
                          : std::string(1, c);
  runtime.spend_bytes(result.size());
  return result;
}

Value int_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (value.is_undefined()) fail_undefined(runtime, value);
  if (value.is_whole()) return value.as_integer();
  double real = 0;
  if (value.real() != nullptr) {
    real = *value.real();
  } else if (value.text() != nullptr) {
    const std::string digits(strip(*value.text(), nullptr, true, true));
    const char* begin = digits.data() + (digits.starts_with('+') ? 1 : 0);
    const char* end = digits.data() + digits.size();
    std::int64_t whole = 0;
    const auto base =
        static_cast<int>(std::clamp<std::int64_t>(number(runtime, arguments, 1, "base", 10), 2, 36));
    if (const auto parsed = std::from_chars(begin, end, whole, base);
        parsed.ec == std::errc() && parsed.ptr == end)
      return whole;
    if (const auto parsed = std::from_chars(begin, end, real); parsed.ec != std::errc() || parsed.ptr != end)
      return number(runtime, arguments, 0, "default", 0);
  } else {
    return number(runtime, arguments, 0, "default", 0);
  }
  if (!(std::fabs(real) < 9e18)) return number(runtime, arguments, 0, "default", 0);
  return static_cast<std::int64_t>(real);
}

Value float_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (value.is_undefined()) fail_undefined(runtime, value);
  if (value.is_number()) return value.as_real();
  const Value* fallback = arguments.find(0, "default");
  double real = 0;
  if (value.text() != nullptr) {
    const std::string digits(strip(*value.text(), nullptr, true, true));
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), real);
    if (parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size()) return real;
  }
  return fallback == nullptr ? Value(0.0) : *fallback;
}

Value round_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!value.is_number()) runtime.fail(fmt::format("round of a {}", value.type_name()), "a number");
  const std::string method = text(runtime, arguments, 1, "method", "common");
  if (method == "common" && value.is_whole()) return value.as_integer();
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<std::int64_t>(
                                          number(runtime, arguments, 0, "precision", 0), -300, 300)));
  const double scaled = value.as_real() * scale;
  return (method == "ceil"    ? std::ceil(scaled)
          : method == "floor" ? std::floor(scaled)
                              : std::nearbyint(scaled)) /
         scale;
}

Value abs_filter(Runtime& runtime, const Value& value, const Arguments&) {
  if (!value.is_number()) runtime.fail(fmt::format("abs of a {}", value.type_name()), "a number");
  if (!value.is_whole()) return std::fabs(value.as_real());
  return value.as_integer() < 0 ? arithmetic(runtime, "-", 0, value) : Value(value.as_integer());
}

Value truncate_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string whole = to_text(runtime, value), end = text(runtime, arguments, 2, "end", "...");
  const std::int64_t wanted = number(runtime, arguments, 0, "length", 255),
                     leeway = number(runtime, arguments, 3, "leeway", 5);
  const std::vector<std::string_view> letters = characters(whole);
  const auto tail = static_cast<std::int64_t>(length(end));
  if (wanted < tail) runtime.fail(fmt::format("truncate to {}", wanted), "at least the length of its end");
  if (static_cast<std::int64_t>(letters.size()) - wanted <= leeway) return whole;
  std::string cut;
  for (std::int64_t i = 0; i < wanted - tail; ++i) cut += letters[static_cast<std::size_t>(i)];
  if (!arguments.truthy(1, "killwords"))
    if (const std::size_t space = cut.rfind(' '); space != std::string::npos) cut.resize(space);
  return cut + end;
}

// "%s: %d" | format(a, b)
Value format_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return arithmetic(runtime, "%", to_text(runtime, value), Value::tuple(arguments.positional));
}

Value word_count(Runtime& runtime, const Value& value, const Arguments&) {
  const std::string whole = to_text(runtime, value);
  return split(whole, nullptr, -1).size();
}

// An attribute alone: never the entry of a map.
Value attr_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const std::string name = text(runtime, arguments, 0, "name", "");
  return value.dict() != nullptr && !find_method(value, name)
             ? undefined(fmt::format("a map without the attribute '{}'", name))
             : attribute_of(runtime, value, name);
}

struct Entry {
  std::string_view name;
  Filter filter;
};

constexpr Entry kFilters[] = {
    {"abs", abs_filter},
    {"attr", attr_filter},
    {"batch", batch_filter},
    {"capitalize",
     [](Runtime& r, const Value& v, const Arguments&) { return Value(capitalize(to_text(r, v))); }},
    {"center",
     [](Runtime& r, const Value& v, const Arguments& a) {
       const Value whole = to_text(r, v);
       return attribute_of(r, whole, "center").function()->call(r, {{number(r, a, 0, "width", 80)}, {}});
     }},
    {"count", [](Runtime& r, const Value& v, const Arguments&) { return Value(length_of(r, v)); }},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort_filter},
    {"e", escape_filter},
    {"escape", escape_filter},
    {"first", first_filter},
    {"float", float_filter},
    {"format", format_filter},
    {"groupby", groupby_filter},
    {"indent", indent_filter},
    {"int", int_filter},
    {"items", items_filter},
    {"join", join_filter},
    {"last", last_filter},
    {"length", [](Runtime& r, const Value& v, const Arguments&) { return Value(length_of(r, v)); }},
    {"list", [](Runtime& r, const Value& v, const Arguments&) { return Value(items_of(r, v)); }},
    {"lower", [](Runtime& r, const Value& v, const Arguments&) { return Value(lower(to_text(r, v))); }},
    {"map", map_filter},
    {"max", max_filter},
    {"min", min_filter},
    {"reject", reject_filter},
    {"rejectattr", rejectattr_filter},
    {"replace", replace_filter},
    {"reverse", reverse_filter},
    {"round", round_filter},
    {"safe", [](Runtime&, const Value& v, const Arguments&) { return v; }},
    {"select", select_filter},
    {"selectattr", selectattr_filter},
    {"slice", slice_filter},
    {"sort", sort_filter},
    {"string", [](Runtime& r, const Value& v, const Arguments&) { return Value(to_text(r, v)); }},
    {"sum", sum_filter},
    {"title", title_filter},
    {"tojson", to_json_filter},
    {"trim", trim_filter},
    {"truncate", truncate_filter},
    {"unique", unique_filter},
    {"upper", [](Runtime& r, const Value& v, const Arguments&) { return Value(upper(to_text(r, v))); }},
    {"wordcount", word_count},
};

}  // namespace

Filter find_filter(std::string_view name) {
  for (const Entry& entry : kFilters)
    if (entry.name == name) return entry.filter;
  return nullptr;
}

}  // namespace retort::jinja
