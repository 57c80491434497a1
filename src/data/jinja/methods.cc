#include "data/jinja/methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "data/jinja/operators.h"
#include "data/jinja/text.h"
#include "data/tokenizers/unicode.h"
#include "data/tokenizers/utf8.h"

namespace retort::jinja {
namespace {

struct Method {
  std::string_view name;
  Value (*call)(Runtime&, const Value&, const Arguments&);
};

// The optional argument at a place: null if not given or none.
const Value* optional(const Arguments& arguments, std::size_t place, std::string_view name) {
  const Value* value = arguments.find(place, name);
  return value == nullptr || value->is_none() ? nullptr : value;
}

const Value& required(Runtime& runtime, const Arguments& arguments, std::size_t place,
                      std::string_view name) {
  const Value* value = arguments.find(place, name);
  if (value == nullptr) runtime.fail(fmt::format("a call without '{}'", name));
  return *value;
}

std::int64_t limit_of(Runtime& runtime, const Arguments& arguments, std::size_t place,
                      std::string_view name) {
  const Value* value = arguments.find(place, name);
  return value == nullptr ? -1 : expect_integer(runtime, *value, name);
}

List as_list(Runtime& runtime, const std::vector<std::string_view>& parts) {
  runtime.spend(static_cast<std::int64_t>(parts.size()));
  return List(parts.begin(), parts.end());
}

const std::string* separator_of(Runtime& runtime, const Arguments& arguments) {
  const Value* separator = optional(arguments, 0, "sep");
  if (separator == nullptr) return nullptr;
  if (expect_text(runtime, *separator, "a separator").empty()) runtime.fail("an empty separator");
  return separator->text();
}

template <bool Left, bool Right>
Value strip_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Value* set = optional(arguments, 0, "chars");
  return strip(*self.text(), set == nullptr ? nullptr : &expect_text(runtime, *set, "strip"), Left, Right);
}

template <bool AtEnd>
Value begins_or_ends(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Value& what = required(runtime, arguments, 0, "prefix");
  const auto fits = [&](const Value& part) {
    const std::string& text = expect_text(runtime, part, AtEnd ? "endswith" : "startswith");
    return AtEnd ? self.text()->ends_with(text) : self.text()->starts_with(text);
  };
  if (what.list() != nullptr) return std::any_of(what.list()->begin(), what.list()->end(), fits);
  return fits(what);
}

template <bool FromRight>
Value find_text(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string& part = expect_text(runtime, required(runtime, arguments, 0, "sub"), "find");
  const std::size_t at = FromRight ? self.text()->rfind(part) : self.text()->find(part);
  return at == std::string::npos ? Value(-1) : Value(length(std::string_view(*self.text()).substr(0, at)));
}

// str.is…: at least one character, and all of the kind.
template <bool (*Is)(char32_t)>
Value all_are(Runtime&, const Value& self, const Arguments&) {
  const auto letters = characters(*self.text());
  return !letters.empty() && std::all_of(letters.begin(), letters.end(),
                                         [](std::string_view c) { return Is(code_point_at(c, 0).value); });
}

bool is_digit(char32_t value) { return category(value) == Category::Nd; }
bool is_letter_or_digit(char32_t value) { return is_letter(value) || is_number(value); }

template <Category Wanted, Category Other>
Value all_cased(Runtime&, const Value& self, const Arguments&) {
  bool any = false;
  for (const std::string_view c : characters(*self.text())) {
    const Category kind = category(code_point_at(c, 0).value);
    if (kind == Other || kind == Category::Lt) return false;
    any = any || kind == Wanted;
  }
  return any;
}

template <bool Left, bool Right>
Value pad(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::int64_t wanted = expect_integer(runtime, required(runtime, arguments, 0, "width"), "a width");
  const Value* fill = arguments.find(1, "fillchar");
  const std::string with = fill == nullptr ? " " : expect_text(runtime, *fill, "a fill character");
  if (length(with) != 1) runtime.fail("a fill of several characters", "one");
  const auto size = static_cast<std::int64_t>(length(*self.text()));
  const std::int64_t missing = wanted > size ? wanted - size : 0;
  runtime.spend(missing);
  // str.center puts the odd one left if the width is odd.
  const std::int64_t left = !Left ? 0 : !Right ? missing : missing / 2 + (missing & wanted & 1);
  std::string result;
  for (std::int64_t i = 0; i < left; ++i) result += with;
  result += *self.text();
  for (std::int64_t i = left; i < missing; ++i) result += with;
  return result;
}

template <bool FromRight>
Value partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::string& mark = expect_text(runtime, required(runtime, arguments, 0, "sep"), "a separator");
  const std::size_t at = FromRight ? self.text()->rfind(mark) : self.text()->find(mark);
  if (at == std::string::npos) return Value::tuple(FromRight ? List{"", "", self} : List{self, "", ""});
  return Value::tuple({self.text()->substr(0, at), mark, self.text()->substr(at + mark.size())});
}

constexpr Method kTextMethods[] = {
    {"strip", strip_method<true, true>},
    {"lstrip", strip_method<true, false>},
    {"rstrip", strip_method<false, true>},
    {"startswith", begins_or_ends<false>},
    {"endswith", begins_or_ends<true>},
    {"find", find_text<false>},
    {"rfind", find_text<true>},
    {"isspace", all_are<is_space>},
    {"isdigit", all_are<is_digit>},
    {"isnumeric", all_are<is_number>},
    {"isalpha", all_are<is_letter>},
    {"isalnum", all_are<is_letter_or_digit>},
    {"isupper", all_cased<Category::Lu, Category::Ll>},
    {"islower", all_cased<Category::Ll, Category::Lu>},
    {"ljust", pad<false, true>},
    {"rjust", pad<true, false>},
    {"center", pad<true, true>},
    {"partition", partition<false>},
    {"rpartition", partition<true>},
    {"upper", [](Runtime&, const Value& self, const Arguments&) { return Value(upper(*self.text())); }},
    {"lower", [](Runtime&, const Value& self, const Arguments&) { return Value(lower(*self.text())); }},
    {"title", [](Runtime&, const Value& self, const Arguments&) { return Value(title(*self.text())); }},
    {"capitalize",
     [](Runtime&, const Value& self, const Arguments&) { return Value(capitalize(*self.text())); }},
    {"split",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       return Value(as_list(runtime, split(*self.text(), separator_of(runtime, arguments),
                                           limit_of(runtime, arguments, 1, "maxsplit"))));
     }},
    {"rsplit",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const std::int64_t limit = limit_of(runtime, arguments, 1, "maxsplit");
       if (limit > 0)
         runtime.spend_bytes(self.text()->size() *
                             static_cast<std::size_t>(std::min<std::int64_t>(limit, 1 << 20)));
       return Value(
           as_list(runtime, split_from_right(*self.text(), separator_of(runtime, arguments), limit)));
     }},
    {"splitlines",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const Value* keep = arguments.find(0, "keepends");
       return Value(as_list(runtime, split_lines(*self.text(), keep != nullptr && keep->truthy())));
     }},
    {"replace",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const std::string& from = expect_text(runtime, required(runtime, arguments, 0, "old"), "replace");
       const std::string& to = expect_text(runtime, required(runtime, arguments, 1, "new"), "replace");
       if (from.size() < to.size())
         runtime.spend_bytes((self.text()->size() + 1) * to.size() / std::max<std::size_t>(from.size(), 1));
       return Value(replace(*self.text(), from, to, limit_of(runtime, arguments, 2, "count")));
     }},
    {"count",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const std::string& part = expect_text(runtime, required(runtime, arguments, 0, "sub"), "count");
       return Value(part.empty() ? length(*self.text()) + 1 : split(*self.text(), &part, -1).size() - 1);
     }},
    {"join",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       std::string result;
       bool first = true;
       for (const Value& item : items_of(runtime, required(runtime, arguments, 0, "iterable"))) {
         if (!std::exchange(first, false)) result += *self.text();
         result += expect_text(runtime, item, "join");
         runtime.spend_bytes(self.text()->size() + item.text()->size());
       }
       return Value(result);
     }},
    {"removeprefix",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const std::string& part =
           expect_text(runtime, required(runtime, arguments, 0, "prefix"), "removeprefix");
       return self.text()->starts_with(part) ? Value(self.text()->substr(part.size())) : self;
     }},
    {"removesuffix",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const std::string& part =
           expect_text(runtime, required(runtime, arguments, 0, "suffix"), "removesuffix");
       return self.text()->ends_with(part) ? Value(self.text()->substr(0, self.text()->size() - part.size()))
                                           : self;
     }},
};

constexpr Method kDictMethods[] = {
    {"get",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const Value* found = find(runtime, *self.dict(), required(runtime, arguments, 0, "key"));
       const Value* fallback = arguments.find(1, "default");
       return found != nullptr ? *found : fallback != nullptr ? *fallback : Value();
     }},
    {"keys",
     [](Runtime& runtime, const Value& self, const Arguments&) { return Value(items_of(runtime, self)); }},
    {"values",
     [](Runtime& runtime, const Value& self, const Arguments&) {
       List values;
       for (const auto& entry : *self.dict()) values.push_back(entry.second);
       runtime.spend(static_cast<std::int64_t>(values.size()));
       return Value(values);
     }},
    {"items",
     [](Runtime& runtime, const Value& self, const Arguments&) {
       List pairs;
       for (const auto& [key, value] : *self.dict()) pairs.push_back(Value::tuple({key, value}));
       runtime.spend(static_cast<std::int64_t>(pairs.size()));
       return Value(pairs);
     }},
    {"copy", [](Runtime&, const Value& self, const Arguments&) { return self; }},
};

constexpr Method kListMethods[] = {
    {"index",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const Value& wanted = required(runtime, arguments, 0, "value");
       const auto found = std::find_if(self.list()->begin(), self.list()->end(),
                                       [&](const Value& item) { return equal(runtime, item, wanted); });
       if (found == self.list()->end()) runtime.fail("a value that is not in the list");
       return Value(static_cast<std::int64_t>(found - self.list()->begin()));
     }},
    {"count",
     [](Runtime& runtime, const Value& self, const Arguments& arguments) {
       const Value& wanted = required(runtime, arguments, 0, "value");
       return Value(static_cast<std::int64_t>(
           std::count_if(self.list()->begin(), self.list()->end(),
                         [&](const Value& item) { return equal(runtime, item, wanted); })));
     }},
    {"copy", [](Runtime&, const Value& self, const Arguments&) { return self; }},
};

// They would change their object, which transformers' sandbox forbids.
constexpr std::string_view kForbidden[] = {"append", "clear",   "extend",     "insert", "pop",   "popitem",
                                           "remove", "reverse", "setdefault", "sort",   "update"};

template <std::size_t N>
std::optional<Function> bind(const Method (&methods)[N], const Value& object, const std::string& name) {
  for (const Method& method : methods)
    if (method.name == name)
      return Function{.name = name,
                      .call =
                          [call = method.call, object](Runtime& runtime, const Arguments& arguments) {
                            if (object.text() != nullptr) runtime.spend_bytes(object.text()->size());
                            return call(runtime, object, arguments);
                          },
                      .nesting = object.nesting()};
  return std::nullopt;
}

}  // namespace

std::optional<Function> find_method(const Value& object, const std::string& name) {
  if (object.text() != nullptr) return bind(kTextMethods, object, name);
  if (object.dict() == nullptr && object.list() == nullptr) return std::nullopt;
  auto found = object.dict() != nullptr ? bind(kDictMethods, object, name) : bind(kListMethods, object, name);
  if (!found && std::find(std::begin(kForbidden), std::end(kForbidden), name) != std::end(kForbidden) &&
      !(object.dict() != nullptr && (name == "append" || name == "extend" || name == "insert" ||
                                     name == "remove" || name == "reverse" || name == "sort")))
    found = Function{.name = name, .call = [name](Runtime& runtime, const Arguments&) -> Value {
                       runtime.fail(fmt::format("'{}', which changes a value", name), "what templates may do",
                                    "Build a new list (a + [b]) or use a namespace.");
                     }};
  return found;
}

Value loop_attribute(Runtime& runtime, const Loop& loop, const std::string& name) {
  const List& items = *loop.items.list();
  const std::size_t index = loop.index, size = items.size();
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth") return 1;  // of recursive loops, which are not supported
  if (name == "depth0") return 0;
  if (name == "previtem") return index > 0 ? items[index - 1] : undefined("no item before the first");
  if (name == "nextitem") return index + 1 < size ? items[index + 1] : undefined("no item behind the last");
  if (name == "cycle")
    return Function{.name = name, .call = [index](Runtime& r, const Arguments& arguments) {
                      if (arguments.positional.empty()) r.fail("loop.cycle without values");
                      return arguments.positional[index % arguments.positional.size()];
                    }};
  return undefined(fmt::format("a loop without '{}'", name));
}

}  // namespace retort::jinja
