// Readers open paths: a folder of this process, whose files are written anew for every input.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace retort {

inline const std::filesystem::path& scratch_folder() {
  static const std::filesystem::path folder = [] {
    auto path = std::filesystem::temp_directory_path() / ("retort-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(path);
    return path;
  }();
  return folder;
}

inline std::filesystem::path scratch_file(const std::string& name, std::string_view content) {
  const std::filesystem::path path = scratch_folder() / name;
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  return path;
}

// An input that stands for two files: what lies before its first zero byte, and what behind.
struct TwoFiles {
  std::string_view first, second;
  explicit TwoFiles(std::string_view input)
      : first(input.substr(0, input.find('\0'))),
        second(first.size() < input.size() ? input.substr(first.size() + 1) : std::string_view()) {}
};

}  // namespace retort
