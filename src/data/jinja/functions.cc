#include "data/jinja/functions.h"

#include <fmt/format.h>

#include <ctime>

#include "data/jinja/operators.h"
#include "data/jinja/text.h"

namespace retort::jinja {
namespace {

Value range(Runtime& runtime, const Arguments& arguments) {
  const auto number = [&](std::size_t i) {
    return expect_integer(runtime, arguments.positional[i], "range");
  };
  const std::size_t count = arguments.positional.size();
  if (count < 1 || count > 3) runtime.fail(fmt::format("range with {} arguments", count), "one to three");
  const std::int64_t first = count > 1 ? number(0) : 0, last = number(count > 1 ? 1 : 0),
                     step = count > 2 ? number(2) : 1;
  if (step == 0) runtime.fail("range with a step of 0");
  List items;
  for (std::int64_t i = first; step > 0 ? i < last : i > last;) {
    runtime.spend(1);
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return items;
}

// dict(a=1, …) and namespace(a=1, …), each also of a map.
Dict entries_of(Runtime& runtime, const Arguments& arguments) {
  Dict entries;
  if (!arguments.positional.empty()) {
    if (arguments.positional[0].dict() == nullptr)
      runtime.fail(fmt::format("a {}", arguments.positional[0].type_name()), "a map or named values");
    entries = *arguments.positional[0].dict();
  }
  for (const auto& [name, value] : arguments.named) {
    const Value key(name);
    const auto known = std::find_if(entries.begin(), entries.end(),
                                    [&](const auto& entry) { return equal(runtime, entry.first, key); });
    if (known == entries.end())
      entries.emplace_back(key, value);
    else
      known->second = value;
  }
  return entries;
}

Value make_namespace(Runtime& runtime, const Arguments& arguments) {
  Namespace* space = runtime.make_namespace();
  for (const auto& [key, value] : entries_of(runtime, arguments))
    space->attributes.emplace_back(expect_text(runtime, key, "an attribute"), value);
  return space;
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
  runtime.fail(arguments.positional.empty() ? "an exception" : to_text(runtime, arguments.positional[0]),
               "messages that the template takes");
}

// The local time, as the machine's clock has it.
Value strftime_now(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.empty()) runtime.fail("strftime_now without a format");
  const std::string& format = expect_text(runtime, arguments.positional[0], "a time format");
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[512];
  // 0 is also the length of what "%p" may print: a space in front tells them apart.
  const std::size_t size =
      format.size() > 200 ? 0 : std::strftime(text, sizeof text, (" " + format).c_str(), &parts);
  if (size == 0) runtime.fail("a time format of that length", "a shorter one");
  return std::string(text + 1, size - 1);
}

}  // namespace

std::optional<Function> find_function(const std::string& name) {
  if (name == "range") return Function{name, range};
  if (name == "namespace") return Function{name, make_namespace};
  if (name == "raise_exception") return Function{name, raise_exception};
  if (name == "strftime_now") return Function{name, strftime_now};
  if (name == "dict")
    return Function{name, [](Runtime& runtime, const Arguments& arguments) {
                      return Value(entries_of(runtime, arguments));
                    }};
  return std::nullopt;
}

}  // namespace retort::jinja
