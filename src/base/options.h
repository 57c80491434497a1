// Options: a component's struct visits each of its fields once, and from that visit come the command-line
// flag, the recipe key, the help text, the resolved recipe and the hash that lets a finished stage be
// skipped.
//
//   struct ShrinkOptions {
//     std::int64_t num_layers = 0;
//     void visit(OptionList& list) { list.add("num_layers", num_layers, "layers to keep, evenly spread"); }
//   };
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"

namespace retort {

// A Json option holds structured values (a list of loss terms): YAML in a recipe, JSON text on the command
// line.
using OptionValue = std::variant<bool*, std::int64_t*, double*, std::string*, std::vector<std::int64_t>*,
                                 std::vector<std::string>*, Json*>;

// What a string option's path is to a stage: an input's content belongs to the stage's hash, an output must
// exist when the stage is to be skipped.
enum class PathRole { none, input, output };

struct Option {
  std::string name;  // snake_case; the flag is --snake-case (both spellings are taken)
  OptionValue value;
  std::string help;
  std::vector<std::string> choices = {};  // for strings and lists of them: the allowed values; empty = any
  bool required = false;
  PathRole path = PathRole::none;
  bool splits = true;  // a list's words on the command line at commas; false: its texts may hold commas
};

class OptionList {
 public:
  // Returned by reference so that a caller can chain: list.add(...).choices = {...}.
  template <class T>
  Option& add(std::string name, T& value, std::string help) {
    return options_.emplace_back(Option{std::move(name), &value, std::move(help)});
  }
  const std::vector<Option>& options() const { return options_; }

  // Sets fields from an object. An unknown key is an Error with the nearest name; so is a value of another
  // type.
  void assign(const Json& values, const std::string& where);
  // Every field with its present value.
  Json to_json() const;
  // Throws Error for the first required option that is still empty or a choice that is not allowed.
  void check(const std::string& where) const;

 private:
  std::vector<Option> options_;
};

// The candidate with the least edit distance to `name`, or "" when none is near (more than a third of the
// letters differ).
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

// "Did you mean 'x'?" or a list of what exists; for Error::advice.
std::string suggest(std::string_view name, const std::vector<std::string>& candidates);

// A YAML document as Json: quoted scalars stay strings, plain ones become booleans, numbers or null as YAML
// 1.2's core schema says. Throws Error with line and column.
Json read_yaml(const std::filesystem::path& path);
Json parse_yaml(const std::string& text, const std::string& where);

}  // namespace retort
