#include "base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDiskAdvice = "Is the disk full, or the folder not writable?";

// A descriptor closed at the end of its scope.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

Descriptor open_for_reading(const fs::path& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0) {
    if (errno == ENOENT)
      throw Error(
          {.where = path.string(), .found = "no such file", .expected = "", .advice = "Check the path."});
    throw_system_error(path.string());
  }
  struct stat status {};
  if (::fstat(file.value, &status) != 0) throw_system_error(path.string());
  if (S_ISDIR(status.st_mode))
    throw Error({.where = path.string(), .found = "a folder", .expected = "a file", .advice = ""});
  return Descriptor{std::exchange(file.value, -1)};
}

void sync_folder(const fs::path& folder) {
  Descriptor handle{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (handle.value >= 0) ::fsync(handle.value);  // best effort: some file systems refuse it
}

fs::path temporary_beside(const fs::path& path) {
  fs::path clean = path.has_filename() ? path : path.parent_path();
  return clean.parent_path() / ("." + clean.filename().string() + ".tmp" + std::to_string(::getpid()));
}

}  // namespace

void remove_tree(const fs::path& path) {
  constexpr int kOpenFolders = 16;
  ::nftw(
      path.c_str(),
      [](const char* entry, const struct stat*, int, struct FTW*) { return ::remove(entry), 0; },
      kOpenFolders, FTW_DEPTH | FTW_PHYS);
}

std::string read_file(const fs::path& path) {
  const Descriptor file = open_for_reading(path);
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(file.value, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error(path.string());
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
  }
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  if (fs::is_directory(path_))
    throw Error({.where = path_.string(), .found = "a folder", .expected = "a file to write", .advice = ""});
  if (!fs::exists(path_) || fs::is_regular_file(path_)) {
    temporary_ = temporary_beside(path_);
    std::error_code code;
    if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), code);
    if (code)
      throw Error({.where = path_.parent_path().string(),
                   .found = code.message(),
                   .expected = "a folder",
                   .advice = kDiskAdvice},
                  ErrorKind::failure);
  }
  const fs::path& target = temporary_.empty() ? path_ : temporary_;
  descriptor_ = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_system_error(target.string(), kDiskAdvice);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = ::write(descriptor_, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error(path_.string(), kDiskAdvice);
    at += count;
    size -= static_cast<std::size_t>(count);
  }
}

void AtomicFile::commit() {
  if (temporary_.empty()) {
    if (::close(std::exchange(descriptor_, -1)) != 0) throw_system_error(path_.string(), kDiskAdvice);
    return;
  }
  if (::fsync(descriptor_) != 0) throw_system_error(path_.string(), kDiskAdvice);
  if (::close(std::exchange(descriptor_, -1)) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    ::unlink(temporary_.c_str());
    throw_system_error(path_.string(), kDiskAdvice);
  }
  sync_folder(path_.parent_path());
}

AtomicFolder::AtomicFolder(fs::path path, bool replace)
    : path_(std::move(path)), temporary_(temporary_beside(path_)), replace_(replace) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "dir/" names the same folder
  if (!replace && fs::exists(path_) && !(fs::is_directory(path_) && fs::is_empty(path_)))
    throw Error({.where = path_.string(),
                 .found = "an existing file or folder",
                 .expected = "a new path",
                 .advice = "Choose another one, or delete it first."});
  remove_tree(temporary_);  // left by a killed process with the same id
  std::error_code code;
  fs::create_directories(temporary_, code);
  if (code)
    throw Error(
        {.where = temporary_.string(), .found = code.message(), .expected = "", .advice = kDiskAdvice},
        ErrorKind::failure);
}

AtomicFolder::~AtomicFolder() {
  if (!committed_) remove_tree(temporary_);
}

void AtomicFolder::commit() {
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    const Descriptor file{::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.value >= 0 && entry.is_regular_file() && ::fsync(file.value) != 0)
      throw_system_error(entry.path().string(), kDiskAdvice);
  }
  sync_folder(temporary_);
  fs::path old;
  if (fs::exists(path_)) {
    if (replace_) {
      old = temporary_;
      old += ".old";
      fs::rename(path_, old);
    } else {
      fs::remove(path_);  // empty, as the constructor saw it
    }
  }
  fs::rename(temporary_, path_);
  committed_ = true;
  sync_folder(path_.parent_path());
  if (!old.empty()) remove_tree(old);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file = open_for_reading(path);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) throw_system_error(path.string());
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.value, 0);
  if (mapped == MAP_FAILED) throw_system_error(path.string());
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace retort
