#include "cli/recipe_values.h"

#include "base/error.h"
#include "base/options.h"

namespace retort {
namespace {

[[noreturn]] void unknown_variable(const std::string& text, const std::string& key, const Json& among,
                                   const std::string& where) {
  std::vector<std::string> names;
  if (among.is_object())
    for (const auto& [name, unused] : among.items()) names.push_back(name);
  throw Error({.where = where,
               .found = "'" + text + "', and no key '" + key + "'",
               .expected = "",
               .advice = suggest(key, names)});
}

// "size.limit" → variables["size"]["limit"].
const Json& find_variable(const std::string& path, const Json& variables, const std::string& text,
                          const std::string& where) {
  const Json* found = &variables;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    if (!found->is_object() || !found->contains(key)) unknown_variable(text, key, *found, where);
    found = &found->at(key);
    begin = end + 1;
  }
  return *found;
}

struct Loop {
  std::vector<std::string> names;
  std::vector<Json> values;  // a list each
};

Loop read_loop(const Json& item, const Json& variables, const std::string& where) {
  Json each = item.at("for_each");
  substitute(each, variables, where + ": for_each");
  if (item.size() != 2 || !item.contains("do") || !each.is_object() || each.empty())
    throw Error({.where = where,
                 .found = item.dump().substr(0, 200),
                 .expected = "for_each: {NAME: [VALUE, …]} with do: the items to repeat",
                 .advice = ""});
  Loop loop;
  for (const auto& [name, list] : each.items()) {
    if (!list.is_array() || list.empty())
      throw Error({.where = where + ": for_each: " + name,
                   .found = list.dump(),
                   .expected = "a list of one value or more",
                   .advice = ""});
    loop.names.push_back(name);
    loop.values.push_back(list);
  }
  return loop;
}

void run_loop(const Loop& loop, std::size_t depth, const Json& body, const Json& variables,
              const std::string& where, Json& out) {
  if (depth == loop.names.size()) {
    Json items = body.is_array() ? body : Json::array({body});
    expand_loops(items, variables, where);
    substitute(items, variables, where);
    for (Json& item : items) out.push_back(std::move(item));
    return;
  }
  Json inner = variables;
  for (const Json& value : loop.values[depth]) {
    inner[loop.names[depth]] = value;
    run_loop(loop, depth + 1, body, inner, where, out);
  }
}

}  // namespace

void substitute(Json& value, const Json& variables, const std::string& where) {
  if (value.is_structured()) {
    for (Json& item : value) substitute(item, variables, where);
    return;
  }
  if (!value.is_string()) return;
  std::string text = value.get<std::string>();
  for (std::size_t at = text.find("${"); at != std::string::npos; at = text.find("${", at)) {
    const std::size_t end = text.find('}', at);
    const std::string key = end == std::string::npos ? "" : text.substr(at + 2, end - at - 2);
    const Json& variable = find_variable(key, variables, text, where);
    if (at == 0 && end + 1 == text.size() && !variable.is_string()) {  // the whole text: keep the type
      value = variable;
      return;
    }
    const std::string replacement = variable.is_string() ? variable.get<std::string>() : variable.dump();
    text.replace(at, end + 1 - at, replacement);
    at += replacement.size();
  }
  value = text;
}

void expand_loops(Json& value, const Json& variables, const std::string& where) {
  if (value.is_object())
    for (Json& item : value) expand_loops(item, variables, where);
  if (!value.is_array()) return;
  Json expanded = Json::array();
  for (Json& item : value) {
    if (item.is_object() && item.contains("for_each")) {
      const Loop loop = read_loop(item, variables, where);
      run_loop(loop, 0, item.at("do"), variables, where, expanded);
    } else {
      expand_loops(item, variables, where);
      expanded.push_back(std::move(item));
    }
  }
  value = std::move(expanded);
}

}  // namespace retort
