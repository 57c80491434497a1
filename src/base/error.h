// The one exception type of Retort. A message names what was wrong (a file, a key), what was found there,
// what was expected and what the user can do. Thrown by libraries, caught in a program's main.
#pragma once

#include <stdexcept>
#include <string>

namespace retort {

enum class ErrorKind {
  user,     // bad input or options: exit code 2
  failure,  // the machine or Retort itself failed: exit code 1
};

struct ErrorParts {
  std::string where;       // "config.json: hidden_size", "line 17 of pairs.tsv"
  std::string found = "";  // may be empty, as may all that follow
  std::string expected = "";
  std::string advice = "";
};

class Error : public std::runtime_error {
 public:
  // what(): "WHERE: found FOUND, expected EXPECTED. ADVICE"
  explicit Error(ErrorParts parts, ErrorKind kind = ErrorKind::user);

  const ErrorParts& parts() const { return parts_; }
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return kind_ == ErrorKind::user ? 2 : 1; }

 private:
  ErrorParts parts_;
  ErrorKind kind_;
};

// A failure of the operating system; errno's text becomes "found".
[[noreturn]] void throw_system_error(std::string where, std::string advice = "");

}  // namespace retort
