// JSON at the edge. Objects keep their order, so that a config read and written again stays recognisable.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace retort {

using Json = nlohmann::ordered_json;

// Throws Error naming `where` and the position. Nesting beyond 256 levels is refused.
Json parse_json(std::string_view text, const std::string& where);
// The same with keys sorted: Json keeps their order, and so looks them up one by one, which 150,000 of a
// vocabulary are too many for.
nlohmann::json parse_sorted_json(std::string_view text, const std::string& where);
// The same, and an Error when it is no object: its keys can be asked for.
Json parse_object(std::string_view text, const std::string& where);
Json read_json(const std::filesystem::path& path);
// Written beside and renamed; two-space indent and a final newline, UTF-8 kept as it is.
void write_json(const std::filesystem::path& path, const Json& value);

// value[key] converted to T, or an Error naming `where: key`, what was found and the type expected.
template <class T>
T json_get(const Json& value, const std::string& key, const std::string& where);
// The same, but `fallback` when the key is missing or null.
template <class T>
T json_get_or(const Json& value, const std::string& key, T fallback, const std::string& where);

}  // namespace retort
