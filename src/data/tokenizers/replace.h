// "Replace" of normalizers and decoders: every match of a string or pattern becomes `content`.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "data/tokenizers/regex.h"

namespace retort {

// {"String": …} or {"Regex": …} as one Regex.
inline Regex make_pattern(const Json& pattern, const std::string& where) {
  if (pattern.is_object() && pattern.contains("String"))
    return Regex(Regex::escape(json_get<std::string>(pattern, "String", where)), where);
  if (pattern.is_object() && pattern.contains("Regex"))
    return Regex(json_get<std::string>(pattern, "Regex", where), where);
  throw Error({.where = where,
               .found = pattern.dump(),
               .expected = "a pattern {\"String\": …} or {\"Regex\": …}",
               .advice = ""});
}

// Rules one after another can double a text each: where that ends.
inline void check_grown(std::size_t bytes) {
  constexpr std::size_t kMostBytes = std::size_t{256} << 20;
  if (bytes > kMostBytes)
    throw Error({.where = "tokenizer rules",
                 .found = "a text that they make longer than 256 MiB",
                 .expected = "rules that keep a text's size",
                 .advice = ""});
}

class Replacer {
 public:
  Replacer(const Json& json, const std::string& where)
      : pattern_(make_pattern(json.value("pattern", Json()), where)),
        content_(json_get<std::string>(json, "content", where)) {}

  std::string apply(const std::string& text) const {
    std::string result;
    std::size_t at = 0, begin = 0, end = 0;
    for (std::size_t from = 0; from <= text.size() && pattern_.find(text, from, begin, end);) {
      result.append(text, at, begin - at);
      result += content_;
      check_grown(result.size());
      at = end;
      from = behind_match(text, begin, end);
    }
    return result.append(text, at, std::string::npos);
  }

 private:
  Regex pattern_;
  std::string content_;
};

}  // namespace retort
