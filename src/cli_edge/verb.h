// A verb is one file: its options and what it does. The same verb runs from the command line of either
// program and as a stage of a recipe.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/options.h"

namespace retort {

class Verb {
 public:
  virtual ~Verb() = default;
  virtual void visit(OptionList& list) = 0;
  // Words of the command line that belong to no option (`retort run RECIPE --distill.steps=100`); returns
  // those it has no use for.
  virtual std::vector<std::string> take_arguments(std::vector<std::string> arguments) { return arguments; }
  // Paths inside structured options, whose contents belong to a stage's hash as those of PathRole::input do.
  virtual std::vector<std::string> inputs() const { return {}; }
  // Ctrl-C is a wish (base/interrupt.h) that run() looks for; false: it ends the program at once.
  virtual bool heeds_interrupts() const { return true; }
  // Does the work. The figures returned are kept in the stage's record and shown in reports; null when there
  // are none.
  virtual Json run() = 0;
};

struct VerbRow {
  std::string_view name;     // "train"; a space makes a group: "tokenize encode"
  std::string_view summary;  // one line
  std::string_view example;  // its words after the program's name, of a command that works; shown by --help
  std::unique_ptr<Verb> (*make)();
};

// Throws Error with the nearest name.
const VerbRow& find_verb(std::span<const VerbRow> rows, std::string_view name, const std::string& where);

}  // namespace retort
