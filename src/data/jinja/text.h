// Values as text, and what Python's strings can do: templates rely on both to the letter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/jinja/value.h"

namespace retort::jinja {

std::string to_text(Runtime& runtime, const Value& value);  // str(): as {{ … }} prints it
std::string repr(Runtime& runtime, const Value& value);     // repr(): as it stands inside of a printed list

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; none: one line
  std::string item_separator = ", ", key_separator = ": ";
};
// json.dumps. Fails for what has no JSON form.
std::string to_json(Runtime& runtime, const Value& value, const JsonOptions& options);

// Code points.
std::size_t length(std::string_view text);
std::vector<std::string_view> characters(std::string_view text);

bool is_space(char32_t value);  // str.isspace of one character
// Without the characters of `set` at its ends; white space when there is no set.
std::string_view strip(std::string_view text, const std::string* set, bool left, bool right);
std::vector<std::string_view> split(std::string_view text, const std::string* separator, std::int64_t limit);
std::vector<std::string_view> split_from_right(std::string_view text, const std::string* separator,
                                               std::int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);       // str.title
std::string capitalize(std::string_view text);  // str.capitalize

}  // namespace retort::jinja
