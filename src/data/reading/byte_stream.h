// The bytes of a data file, piece by piece: a memory map in one piece, or a zstd stream decompressed as it is
// read (so a file far larger than memory can be read).
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace retort {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // The next bytes, valid until the next call; empty at the end. Throws Error for a corrupt or truncated zstd
  // file.
  virtual std::string_view next() = 0;
  virtual void rewind() = 0;
  const std::filesystem::path& path() const { return path_; }

 protected:
  explicit ByteStream(std::filesystem::path path) : path_(std::move(path)) {}

 private:
  std::filesystem::path path_;
};

// Decompresses when the name ends in ".zst". Throws Error when the file is missing or unreadable.
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);

}  // namespace retort
