#include "runtime/read_bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "runtime/kernels/aligned_buffer.h"

namespace retort {
namespace {

constexpr std::int64_t kPiece = 1 << 20;
constexpr std::int64_t kAhead = 2048;  // bytes that a prefetch runs before the reads
constexpr int kPasses = 7;

std::size_t buffer_bytes() {
  std::int64_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
  return static_cast<std::size_t>(std::clamp<std::int64_t>(4 * cache, 256 << 20, std::int64_t{2} << 30) /
                                  kPiece * kPiece);
}

// A sum that depends on every byte, so that no read can be left out.
std::uint64_t read_piece(const std::byte* data) {
  std::uint64_t sums[8] = {};
  for (std::int64_t at = 0; at < kPiece; at += 64) {
    __builtin_prefetch(data + at + kAhead, 0, 0);
    std::uint64_t line[8];
    std::memcpy(line, data + at, sizeof line);
    for (int i = 0; i < 8; ++i) sums[i] += line[i];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double read_bandwidth(ThreadPool& pool) {
  using Clock = std::chrono::steady_clock;
  AlignedBuffer buffer(buffer_bytes());
  const auto pieces = static_cast<std::int64_t>(buffer.size()) / kPiece;
  pool.parallel_for(pieces, 16, [&](std::int64_t begin, std::int64_t end, int) {
    std::memset(buffer.data() + begin * kPiece, 1, static_cast<std::size_t>((end - begin) * kPiece));
  });
  std::atomic<std::uint64_t> total{0};
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const Clock::time_point start = Clock::now();
    pool.parallel_for(pieces, 4, [&](std::int64_t begin, std::int64_t end, int) {
      std::uint64_t sum = 0;
      for (std::int64_t piece = begin; piece < end; ++piece)
        sum += read_piece(buffer.data() + piece * kPiece);
      total += sum;
    });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, static_cast<double>(buffer.size()) / seconds);
  }
  return total == 0 ? 0 : best;
}

}  // namespace retort
