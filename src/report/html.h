// Small helpers of the page: escaping, numbers, and reading a report.json of which nothing is certain.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace retort {

// For text and for quoted attributes. Control characters other than tab and line break are dropped, invalid
// UTF-8 becomes U+FFFD.
std::string escape_html(std::string_view text);

// object[key], or null when there is no such thing.
const Json& part(const Json& object, const char* key);
// The same as text ("" when missing or not a string) and as a number of sane size (1e100 at most).
std::string text_part(const Json& object, const char* key);
std::optional<double> number(const Json& value);
// part(object, key) if it is an array, else an empty one.
const Json& list_part(const Json& object, const char* key);

// Fixed decimals with thousands grouped; digits < 0: about four significant ones. `minus` is what stands
// before negatives.
std::string format_number(double value, std::int64_t digits, std::string_view minus = "\u2212");
// 1536 → "1.5 KiB".
std::string format_bytes(double bytes);

}  // namespace retort
