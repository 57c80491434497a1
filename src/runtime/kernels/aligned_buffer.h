// Memory that starts at a cache line, in large pages where it is big: weights streamed through small pages
// are much slower. Not initialised.
#pragma once

#include <cstddef>
#include <memory>

namespace retort {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Throws Error when the machine has not that much.
  explicit AlignedBuffer(std::size_t bytes);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  // At least `bytes`; what was inside is lost when it grows.
  void reserve(std::size_t bytes) {
    if (bytes > size_) *this = AlignedBuffer(bytes);
  }

 private:
  struct Free {
    bool large;  // cut from a shared region
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace retort
