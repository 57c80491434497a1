// Buffers of half a megabyte and more are cut from regions of many large pages, so that a model's matrices,
// each of few megabytes, share them without rounding each up to whole ones. A region is given back with its
// last buffer.
#include "runtime/kernels/aligned_buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::size_t kLine = 64, kLargePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = std::size_t{512} << 10, kRegion = 16 * kLargePage;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

class Regions {
 public:
  // Null: no memory.
  std::byte* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (current_ == regions_.end() || current_->second.size - current_->second.used < bytes) {
      const std::size_t size = std::max(kRegion, rounded_up(bytes, kLargePage));
      // One large page more than needed, to begin at a multiple of one.
      void* mapped = ::mmap(nullptr, size + kLargePage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (mapped == MAP_FAILED) return nullptr;
      const auto address = reinterpret_cast<std::size_t>(mapped);
      std::byte* begin = static_cast<std::byte*>(mapped) + (rounded_up(address, kLargePage) - address);
#if defined(MADV_HUGEPAGE)
      ::madvise(begin, size, MADV_HUGEPAGE);  // a wish: may fail
#endif
      const bool own = bytes >= kRegion;  // leaves the current region to others
      const auto region = regions_.emplace(begin, Region{mapped, size, 0, 0}).first;
      if (own) return use(region->second, begin, bytes);
      current_ = region;
    }
    return use(current_->second, current_->first, bytes);
  }

  void give_back(std::byte* memory) {
    const std::lock_guard lock(mutex_);
    const auto region = std::prev(regions_.upper_bound(memory));
    if (--region->second.buffers > 0) return;
    if (current_ == region) current_ = regions_.end();
    ::munmap(region->second.mapped, region->second.size + kLargePage);
    regions_.erase(region);
  }

 private:
  struct Region {
    void* mapped;
    std::size_t size, used, buffers;
  };
  static std::byte* use(Region& region, std::byte* begin, std::size_t bytes) {
    std::byte* memory = begin + region.used;
    region.used += bytes;
    ++region.buffers;
    return memory;
  }

  std::mutex mutex_;
  std::map<std::byte*, Region> regions_;  // by begin
  std::map<std::byte*, Region>::iterator current_ = regions_.end();
};

Regions& regions() {
  static Regions* const instance = new Regions;  // outlives every static buffer
  return *instance;
}

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) {
  if (bytes == 0) return;
  const std::size_t rounded = rounded_up(bytes, kLine);
  const bool large = rounded >= kLarge;
  if (rounded >= bytes && rounded <= std::size_t{1} << 47)
    data_ = {large ? regions().take(rounded) : static_cast<std::byte*>(std::aligned_alloc(kLine, rounded)),
             Free{large}};
  if (!data_)
    throw Error({.where = "memory",
                 .found = fmt::format("no room for {:.1f} MB", static_cast<double>(bytes) / 1e6),
                 .advice = "Use a smaller model, a coarser encoding or a shorter context"},
                ErrorKind::failure);
  size_ = rounded;
}

void AlignedBuffer::Free::operator()(std::byte* memory) const {
  if (large)
    regions().give_back(memory);
  else
    std::free(memory);
}

}  // namespace retort
