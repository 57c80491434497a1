#include "data/jinja/list_filters.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/jinja/filters.h"
#include "data/jinja/operators.h"
#include "data/jinja/tests.h"
#include "data/jinja/text.h"

namespace retort::jinja {
namespace {

// "a.b.0": attributes and places one after another; null leaves an item as it is. What is undefined on the
// way becomes `fallback`, if there is one.
Value by_path(Runtime& runtime, const Value& item, const Value* path, const Value* fallback = nullptr) {
  if (path == nullptr || path->is_none()) return item;
  if (path->is_whole()) return item_of(runtime, item, *path);
  static const std::string kDot = ".";
  Value value = item;
  for (const std::string_view part : split(expect_text(runtime, *path, "an attribute"), &kDot, -1)) {
    const bool place =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
    value = item_of(runtime, value, place ? Value(std::int64_t{std::stoll(std::string(part))}) : Value(part));
    if (value.is_undefined() && fallback != nullptr) value = *fallback;
  }
  return value;
}

// Unless case counts, texts are compared in lower case.
Value sort_key(Runtime& runtime, const Value& item, const Value* path, bool case_sensitive) {
  Value key = by_path(runtime, item, path);
  return !case_sensitive && key.text() != nullptr ? Value(lower(*key.text())) : key;
}

List sorted(Runtime& runtime, const Value& value, const Value* path, bool case_sensitive, bool reverse) {
  // "a,b" sorts by the first and then by the second.
  static const std::string kComma = ",";
  List paths;
  if (path != nullptr && path->text() != nullptr)
    for (const std::string_view part : split(*path->text(), &kComma, -1)) paths.emplace_back(part);
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(runtime, value)) {
    List keys;
    for (const Value& part : paths) keys.push_back(sort_key(runtime, item, &part, case_sensitive));
    keyed.emplace_back(paths.empty() ? sort_key(runtime, item, path, case_sensitive) : Value(std::move(keys)),
                       item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(runtime, b.first, a.first) : less(runtime, a.first, b.first);
  });
  List result;
  for (auto& entry : keyed) result.push_back(std::move(entry.second));
  return result;
}

// select, reject and their attribute forms: which items pass the test that the arguments from `place` on
// name.
Value choose(Runtime& runtime, const Value& value, const Arguments& arguments, bool by_attribute,
             bool wanted) {
  const std::size_t place = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty()) runtime.fail("a filter without the name of an attribute");
  Test test = nullptr;
  if (arguments.positional.size() > place) {
    const std::string& name = expect_text(runtime, arguments.positional[place], "the name of a test");
    test = find_test(name);
    if (test == nullptr) runtime.fail(fmt::format("the test '{}'", name), "one that Jinja has");
  }
  Arguments rest;
  if (arguments.positional.size() > place + 1)
    rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(place) + 1,
                           arguments.positional.end());
  List result;
  if (!value.truthy()) return result;
  for (const Value& item : items_of(runtime, value)) {
    const Value subject = by_path(runtime, item, by_attribute ? &arguments.positional[0] : nullptr);
    if ((test == nullptr ? subject.truthy() : test(runtime, subject, rest)) == wanted) result.push_back(item);
  }
  return result;
}

Value extreme(Runtime& runtime, const Value& value, const Arguments& arguments, bool largest) {
  const Value* path = arguments.find(1, "attribute");
  const List items = items_of(runtime, value);
  if (items.empty()) return undefined("the extreme of nothing");
  const Value* best = &items[0];
  for (const Value& item : items) {
    const Value a = sort_key(runtime, item, path, arguments.truthy(0, "case_sensitive"));
    const Value b = sort_key(runtime, *best, path, arguments.truthy(0, "case_sensitive"));
    if (largest ? less(runtime, b, a) : less(runtime, a, b)) best = &item;
  }
  return *best;
}

}  // namespace

Value batch_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value* size = arguments.find(0, "linecount");
  const std::int64_t count = size == nullptr ? 0 : expect_integer(runtime, *size, "batch");
  if (count < 1) runtime.fail(fmt::format("batches of {}", count), "at least 1");
  runtime.spend(count);
  List rows, row;
  for (const Value& item : items_of(runtime, value)) {
    if (static_cast<std::int64_t>(row.size()) == count) rows.emplace_back(std::exchange(row, {}));
    row.push_back(item);
  }
  const Value* fill = arguments.find(1, "fill_with");
  while (!row.empty() && fill != nullptr && !fill->is_none() && static_cast<std::int64_t>(row.size()) < count)
    row.push_back(*fill);
  if (!row.empty()) rows.emplace_back(row);
  return rows;
}

Value slice_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value* number = arguments.find(0, "slices");
  const std::int64_t count = number == nullptr ? 0 : expect_integer(runtime, *number, "slice");
  if (count < 1) runtime.fail(fmt::format("{} slices", count), "at least 1");
  runtime.spend(count);
  const List items = items_of(runtime, value);
  const std::size_t each = items.size() / static_cast<std::size_t>(count),
                    longer = items.size() % static_cast<std::size_t>(count);
  const Value* fill = arguments.find(1, "fill_with");
  List rows;
  std::size_t at = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::size_t size = each + (i < longer ? 1 : 0);
    List row(items.begin() + static_cast<std::ptrdiff_t>(at),
             items.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    if (fill != nullptr && !fill->is_none() && i >= longer) row.push_back(*fill);
    rows.emplace_back(std::move(row));
  }
  return rows;
}

Value dictsort_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (value.dict() == nullptr) runtime.fail(fmt::format("dictsort of a {}", value.type_name()), "a map");
  const Value* by = arguments.find(1, "by");
  const Value place = by != nullptr && by->text() != nullptr && *by->text() == "value" ? 1 : 0;
  List pairs;
  for (const auto& [key, item] : *value.dict()) pairs.push_back(Value::tuple({key, item}));
  return sorted(runtime, pairs, &place, arguments.truthy(0, "case_sensitive"),
                arguments.truthy(2, "reverse"));
}

Value first_filter(Runtime& runtime, const Value& value, const Arguments&) {
  const List items = items_of(runtime, value);
  return items.empty() ? undefined("the first item of nothing") : items.front();
}

Value last_filter(Runtime& runtime, const Value& value, const Arguments&) {
  const List items = items_of(runtime, value);
  return items.empty() ? undefined("the last item of nothing") : items.back();
}

Value groupby_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value* path = arguments.find(0, "attribute");
  const bool case_sensitive = arguments.truthy(2, "case_sensitive");
  List groups, group;
  Value key, shown;
  for (const Value& item : sorted(runtime, value, path, case_sensitive, false)) {
    const Value here = sort_key(runtime, item, path, case_sensitive);
    if (!group.empty() && !equal(runtime, here, key))
      groups.push_back(Value::tuple({shown, std::exchange(group, {})}));
    if (group.empty()) shown = by_path(runtime, item, path);
    key = here;
    group.push_back(item);
  }
  if (!group.empty()) groups.push_back(Value::tuple({shown, group}));
  return groups;
}

Value items_filter(Runtime& runtime, const Value& value, const Arguments&) {
  if (value.is_undefined()) return List{};
  if (value.dict() == nullptr) runtime.fail(fmt::format("items of a {}", value.type_name()), "a map");
  return attribute_of(runtime, value, "items").function()->call(runtime, {});
}

Value join_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value *mark = arguments.find(0, "d"), *path = arguments.find(1, "attribute");
  const std::string between = mark == nullptr ? "" : to_text(runtime, *mark);
  std::string result;
  bool first = true;
  for (const Value& item : items_of(runtime, value)) {
    const std::string part = to_text(runtime, by_path(runtime, item, path));
    if (!std::exchange(first, false)) result += between;
    result += part;
    runtime.spend_bytes(between.size() + part.size());
  }
  return result;
}

Value map_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  List result;
  if (!value.truthy()) return result;
  if (arguments.positional.empty()) {
    const Value *path = arguments.find(0, "attribute"), *fallback = arguments.find(1, "default");
    if (path == nullptr) runtime.fail("map without a filter or an attribute");
    for (const Value& item : items_of(runtime, value))
      result.push_back(by_path(runtime, item, path, fallback));
    return result;
  }
  const std::string& name = expect_text(runtime, arguments.positional[0], "the name of a filter");
  const Filter filter = find_filter(name);
  if (filter == nullptr) runtime.fail(fmt::format("the filter '{}'", name), "one that Jinja has");
  const Runtime::Level level(runtime);
  const Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  for (const Value& item : items_of(runtime, value)) result.push_back(filter(runtime, item, rest));
  return result;
}

Value max_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return extreme(runtime, value, arguments, true);
}
Value min_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return extreme(runtime, value, arguments, false);
}

Value select_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return choose(runtime, value, arguments, false, true);
}
Value reject_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return choose(runtime, value, arguments, false, false);
}
Value selectattr_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return choose(runtime, value, arguments, true, true);
}
Value rejectattr_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return choose(runtime, value, arguments, true, false);
}

Value reverse_filter(Runtime& runtime, const Value& value, const Arguments&) {
  List items = items_of(runtime, value);
  std::reverse(items.begin(), items.end());
  if (value.text() == nullptr) return items;
  std::string result;
  for (const Value& letter : items) result += *letter.text();
  return result;
}

Value sort_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return sorted(runtime, value, arguments.find(2, "attribute"), arguments.truthy(1, "case_sensitive"),
                arguments.truthy(0, "reverse"));
}

Value sum_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value *path = arguments.find(0, "attribute"), *start = arguments.find(1, "start");
  Value total = start == nullptr ? Value(0) : *start;
  for (const Value& item : items_of(runtime, value))
    total = arithmetic(runtime, "+", total, by_path(runtime, item, path));
  return total;
}

Value unique_filter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value* path = arguments.find(1, "attribute");
  const bool case_sensitive = arguments.truthy(0, "case_sensitive");
  List keys, result;
  for (const Value& item : items_of(runtime, value)) {
    const Value key = sort_key(runtime, item, path, case_sensitive);
    runtime.spend(static_cast<std::int64_t>(keys.size() / 8));
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(runtime, k, key); }))
      continue;
    keys.push_back(key);
    result.push_back(item);
  }
  return result;
}

}  // namespace retort::jinja
