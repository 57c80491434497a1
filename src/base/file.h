// Files: read whole, written beside and renamed (a reader sees the old file or the new one, never half of
// it), and folders that come into being as a whole.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace retort {

// Deletes a file or a folder with all that is in it; nothing there is no error, and what cannot be deleted
// stays. Instead of std::filesystem::remove_all, whose symbols some LibTorch builds export from an older
// library: calling it then crashes.
void remove_tree(const std::filesystem::path& path);

// Throws Error when the file is missing, unreadable or a folder.
std::string read_file(const std::filesystem::path& path);
// Writes ".NAME.tmp<pid>" beside it, fsyncs, renames. Throws on a full disk; the old file, if any, is then
// untouched.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// A file written piece by piece that appears under its name only when commit() has run; dropped otherwise.
// What is there and is no file (a device, a pipe: /dev/stdout) is written to as it is.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

// A folder filled under a temporary name beside `path` and renamed to it by commit(); dropped otherwise. An
// existing folder is an Error in the constructor unless `replace` (then it is swapped out at commit).
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path path, bool replace = false);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  bool replace_, committed_ = false;
};

// The bytes of a file, mapped read-only. Empty files are allowed. Moves, does not copy.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace retort
