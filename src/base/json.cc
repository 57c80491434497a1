#include "base/json.h"

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace {

constexpr int kMaxDepth = 256;

// nlohmann recurses once per level only when it destroys or dumps; the limit keeps hostile nesting off the
// stack.
void check_depth(std::string_view text, const std::string& where) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth)
        throw Error({.where = where,
                     .found = "JSON nested deeper than " + std::to_string(kMaxDepth) + " levels",
                     .expected = "",
                     .advice = ""});
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "true or false";
  else if constexpr (std::is_integral_v<T>)
    return "a whole number";
  else if constexpr (std::is_floating_point_v<T>)
    return "a number";
  else if constexpr (std::is_same_v<T, std::string>)
    return "a string";
  else
    return "a list";
}

std::string shorten(std::string text) {
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

template <class T>
bool fits(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value.is_boolean();
  } else if constexpr (std::is_integral_v<T>) {
    // 1e6 and 64.0 appear in real configs; the value must still be whole and in range.
    if (value.is_number_integer()) return true;
    if (!value.is_number_float()) return false;
    const double number = value.template get<double>();
    return number >= -9e15 && number <= 9e15 &&
           number == static_cast<double>(static_cast<std::int64_t>(number));
  } else if constexpr (std::is_floating_point_v<T>) {
    return value.is_number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value.is_string();
  } else {
    if (!value.is_array()) return false;
    for (const Json& item : value)
      if (!fits<typename T::value_type>(item)) return false;
    return true;
  }
}

template <class T>
T convert(const Json& value, const std::string& key, const std::string& where) {
  if (!fits<T>(value))
    throw Error({.where = where + ": " + key,
                 .found = shorten(value.dump(-1, ' ', false, Json::error_handler_t::replace)),
                 .expected = type_name<T>(),
                 .advice = ""});
  return value.template get<T>();
}

template <class Value>
Value parse_as(std::string_view text, const std::string& where) {
  check_depth(text, where);
  try {
    return Value::parse(text);
  } catch (const typename Value::parse_error& error) {
    throw Error({.where = where,
                 .found = "JSON that cannot be parsed at byte " + std::to_string(error.byte),
                 .expected = "",
                 .advice = ""});
  } catch (const typename Value::out_of_range&) {
    throw Error({.where = where, .found = "a number too large for a double", .expected = "", .advice = ""});
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) { return parse_as<Json>(text, where); }
nlohmann::json parse_sorted_json(std::string_view text, const std::string& where) {
  return parse_as<nlohmann::json>(text, where);
}

Json parse_object(std::string_view text, const std::string& where) {
  Json value = parse_json(text, where);
  if (!value.is_object())
    throw Error({.where = where,
                 .found = shorten(value.dump(-1, ' ', false, Json::error_handler_t::replace)),
                 .expected = "an object of keys and values"});
  return value;
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const Json& value) {
  write_file_atomically(path, value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

template <class T>
T json_get(const Json& value, const std::string& key, const std::string& where) {
  if (!value.is_object() || !value.contains(key))
    throw Error({.where = where + ": " + key, .found = "nothing", .expected = type_name<T>(), .advice = ""});
  return convert<T>(value.at(key), key, where);
}

template <class T>
T json_get_or(const Json& value, const std::string& key, T fallback, const std::string& where) {
  if (!value.is_object() || !value.contains(key) || value.at(key).is_null()) return fallback;
  return convert<T>(value.at(key), key, where);
}

#define RETORT_JSON_TYPE(T)                                                    \
  template T json_get<T>(const Json&, const std::string&, const std::string&); \
  template T json_get_or<T>(const Json&, const std::string&, T, const std::string&);
RETORT_JSON_TYPE(bool)
RETORT_JSON_TYPE(std::int64_t)
RETORT_JSON_TYPE(double)
RETORT_JSON_TYPE(std::string)
RETORT_JSON_TYPE(std::vector<std::int64_t>)
RETORT_JSON_TYPE(std::vector<double>)
RETORT_JSON_TYPE(std::vector<std::string>)
#undef RETORT_JSON_TYPE

}  // namespace retort
