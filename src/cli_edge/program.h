// A program is a name and a list of verbs: `retort` and `retort-edge` differ in nothing else.
#pragma once

#include <span>
#include <string>

#include "cli_edge/verb.h"

namespace retort {

struct Program {
  std::string name;
  std::string summary;
  std::string (*version)();  // what --version prints after the name
  std::string footer;        // below --help
  std::span<const VerbRow> verbs;
};

// Parses the command line, runs the verb, returns the exit code.
int run_program(const Program& program, int argc, char** argv);

// "0.1.0, kernels NAME (INSTRUCTIONS)".
std::string version_text();

// Writes to the file, or to standard output for "-"; nothing for "".
void write_result(const std::string& path, const Json& value);

}  // namespace retort
