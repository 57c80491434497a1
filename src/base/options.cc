#include "base/options.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace retort {
namespace {

template <class... Fs>
struct Overload : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overload(Fs...) -> Overload<Fs...>;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row[b.size()];
}

void assign_one(const Option& option, const Json& values, const std::string& where) {
  const std::string& key = option.name;
  std::visit(Overload{
                 [&](bool* field) { *field = json_get<bool>(values, key, where); },
                 [&](std::int64_t* field) { *field = json_get<std::int64_t>(values, key, where); },
                 [&](double* field) { *field = json_get<double>(values, key, where); },
                 [&](std::string* field) {
                   // A path or name that looks like a number (`out: 2024`) is still meant as text.
                   const Json& value = values.at(key);
                   *field = value.is_number() ? value.dump() : json_get<std::string>(values, key, where);
                 },
                 [&](std::vector<std::int64_t>* field) {
                   *field = json_get<std::vector<std::int64_t>>(values, key, where);
                 },
                 [&](std::vector<std::string>* field) {
                   if (values.at(key).is_string())
                     *field = {values.at(key).get<std::string>()};
                   else
                     *field = json_get<std::vector<std::string>>(values, key, where);
                 },
                 [&](Json* field) { *field = values.at(key); },
             },
             option.value);
}

}  // namespace

void OptionList::assign(const Json& values, const std::string& where) {
  if (values.is_null()) return;
  if (!values.is_object())
    throw Error({.where = where, .found = values.dump(), .expected = "keys with values", .advice = ""});
  for (const auto& [key, value] : values.items()) {
    const auto option = std::find_if(options_.begin(), options_.end(),
                                     [&key = key](const Option& o) { return o.name == key; });
    if (option == options_.end()) {
      std::vector<std::string> names;
      for (const Option& o : options_) names.push_back(o.name);
      throw Error({.where = where,
                   .found = "unknown key '" + key + "'",
                   .expected = "",
                   .advice = suggest(key, names)});
    }
    assign_one(*option, values, where);
  }
}

Json OptionList::to_json() const {
  Json result = Json::object();
  for (const Option& option : options_)
    std::visit([&](const auto* field) { result[option.name] = *field; }, option.value);
  return result;
}

void OptionList::check(const std::string& where) const {
  for (const Option& option : options_) {
    const auto* text = std::get_if<std::string*>(&option.value);
    const auto* list = std::get_if<std::vector<std::string>*>(&option.value);
    if (option.required && ((text && (*text)->empty()) || (list && (*list)->empty())))
      throw Error(
          {.where = where + ": " + option.name, .found = "nothing", .expected = option.help, .advice = ""});
    if (option.choices.empty()) continue;
    for (const std::string& word : text ? std::vector{**text} : list ? **list : std::vector<std::string>())
      if (std::find(option.choices.begin(), option.choices.end(), word) == option.choices.end())
        throw Error({.where = where + ": " + option.name,
                     .found = "'" + word + "'",
                     .expected = "",
                     .advice = suggest(word, option.choices)});
  }
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

std::string suggest(std::string_view name, const std::vector<std::string>& candidates) {
  if (const std::string near = nearest_name(name, candidates); !near.empty())
    return "Did you mean '" + near + "'?";
  constexpr std::size_t kMostLetters = 400;  // a message, not a manual
  std::string text = "There are:";
  for (const std::string& candidate : candidates) {
    if (text.size() + candidate.size() > kMostLetters) return text + " …";
    text += " " + candidate;
  }
  return text;
}

}  // namespace retort
