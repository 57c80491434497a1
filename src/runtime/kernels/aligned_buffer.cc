#include "runtime/kernels/aligned_buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::size_t kLine = 64, kLargePage = std::size_t{2} << 20;

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) {
  if (bytes == 0) return;
  const bool large = bytes >= 2 * kLargePage;
  const std::size_t alignment = large ? kLargePage : kLine;
  const std::size_t rounded = (bytes + kLine - 1) / kLine * kLine;
  void* memory = nullptr;
  if (rounded < bytes || ::posix_memalign(&memory, alignment, rounded) != 0)
    throw Error({.where = "memory",
                 .found = fmt::format("no room for {:.1f} MB", static_cast<double>(bytes) / 1e6),
                 .advice = "Use a smaller model, a coarser encoding or a shorter context"},
                ErrorKind::failure);
  data_.reset(static_cast<std::byte*>(memory));
  size_ = rounded;
#if defined(MADV_HUGEPAGE)
  if (large) ::madvise(memory, rounded / kLargePage * kLargePage, MADV_HUGEPAGE);  // a wish: may fail
#endif
}

void AlignedBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

}  // namespace retort
