// A file that grows by whole records: each append reaches the kernel before it returns, so that a killed run
// loses at most the record being written.
#pragma once

#include <filesystem>
#include <string_view>

namespace retort {

class AppendFile {
 public:
  explicit AppendFile(const std::filesystem::path& path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view bytes);

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace retort
