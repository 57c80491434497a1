// Lines of a file or of standard input, for verbs that read one at a time.
#pragma once

#include <fstream>
#include <string>

namespace retort {

// A final newline ends the last line and adds none.
class Lines {
 public:
  // "-": standard input. Throws Error when there is no file that can be read.
  explicit Lines(const std::string& path);
  bool next(std::string& line);
  // "FILE line N", of the last one.
  std::string where() const;

 private:
  std::string path_;
  std::ifstream file_;
  std::int64_t number_ = 0;
};

}  // namespace retort
