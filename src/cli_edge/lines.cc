#include "cli_edge/lines.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "base/error.h"

namespace retort {

Lines::Lines(const std::string& path) : path_(path) {
  if (path == "-") return;
  const bool folder = std::filesystem::is_directory(path);  // opens, and has no lines
  if (!folder) file_.open(path, std::ios::binary);
  if (folder || !file_)
    throw Error({.where = path,
                 .found = folder ? "a folder" : "no readable file",
                 .expected = "a file of lines, or '-' for standard input",
                 .advice = "Check the path and its permissions."});
}

bool Lines::next(std::string& line) {
  ++number_;
  return static_cast<bool>(std::getline(path_ == "-" ? std::cin : file_, line));
}

std::string Lines::where() const { return fmt::format("{} line {}", path_, number_); }

}  // namespace retort
