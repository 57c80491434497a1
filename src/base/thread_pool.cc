#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/machine.h"

namespace retort {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);
constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
constexpr std::uint64_t kInside = kOpen - 1;

thread_local bool inside_loop = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits a little for `done`; false when it has not come true.
template <class Done>
bool spin_until(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int count = std::max(1, threads > 0 ? threads : machine().threads);
  try {
    for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { work(thread); });
  } catch (const std::system_error& error) {
    const std::size_t started = workers_.size();
    end_workers();  // no destructor runs for an object that was not made
    throw Error({.where = "threads",
                 .found = "no more than " + std::to_string(started + 1) + ": " + error.code().message(),
                 .expected = std::to_string(count),
                 .advice = "Lower --threads, or raise the limits on processes and memory."},
                ErrorKind::failure);
  }
}

ThreadPool::~ThreadPool() { end_workers(); }

void ThreadPool::end_workers() {
  stop_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t count, std::int64_t grain, const Loop& loop) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(1, grain);
  std::unique_lock lock(callers_, std::defer_lock);
  if (workers_.empty() || count <= grain || inside_loop || !lock.try_lock()) {
    for (std::int64_t begin = 0; begin < count; begin += grain)
      loop.call(loop.body, begin, std::min(begin + grain, count), 0);
    return;
  }
  loop_ = loop;
  count_ = count;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  failed_.store(false, std::memory_order_relaxed);
  exception_ = nullptr;

  const std::uint32_t round = round_.load(std::memory_order_relaxed) + 1;
  gate_.store(std::uint64_t{round} << 32 | kOpen, std::memory_order_release);
  round_.store(round, std::memory_order_release);
  round_.notify_all();

  take_pieces(0);
  gate_.fetch_and(~kOpen);  // who has not begun need not begin
  const auto empty = [this] { return (gate_.load(std::memory_order_acquire) & kInside) == 0; };
  while (!spin_until(empty)) {
    const std::uint64_t seen = gate_.load(std::memory_order_acquire);
    if ((seen & kInside) != 0) gate_.wait(seen);
  }
  if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
}

void ThreadPool::take_pieces(int thread) {
  inside_loop = true;
  while (!failed_.load(std::memory_order_relaxed)) {
    const std::int64_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= count_) break;
    try {
      loop_.call(loop_.body, begin, std::min(begin + grain_, count_), thread);
    } catch (...) {
      if (!failed_.exchange(true)) exception_ = std::current_exception();
    }
  }
  inside_loop = false;
}

bool ThreadPool::join(std::uint32_t round) {
  std::uint64_t seen = gate_.load(std::memory_order_acquire);
  while ((seen >> 32) == round && (seen & kOpen) != 0)
    if (gate_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) return true;
  return false;
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  while (true) {
    const auto changed = [&] { return round_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(changed)) round_.wait(seen);
    if (stop_) return;
    const std::uint32_t round = round_.load(std::memory_order_acquire);
    if (round == seen) continue;
    seen = round;
    if (!join(round)) continue;
    take_pieces(thread);
    if (((gate_.fetch_sub(1, std::memory_order_acq_rel) - 1) & (kOpen | kInside)) == 0) gate_.notify_all();
  }
}

}  // namespace retort
