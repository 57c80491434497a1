// Threads that share out loops. A worker that has nothing to do spins for a few dozen microseconds, so that
// the many short loops of one decoding step find it awake, and then sleeps. The caller works too and never
// waits for a worker that has not begun: on a busy machine a loop is as fast as the threads that really run.
//
// Pieces are handed out as threads ask for them. A body whose result for an index depends on that index alone
// gives the same bits with any number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace retort {

class ThreadPool {
 public:
  // threads: the caller included; 0 = as many as this process may use. Throws Error when the system gives
  // fewer.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // body(begin, end, thread) over pieces of at most `grain` of [0, count); thread in 0 … threads() - 1, for
  // scratch memory. Returns when all is done. The first exception of a body comes out here, and pieces not
  // yet begun are dropped. Inside a body, or while another thread's loop runs, the loop runs in the caller
  // alone (as thread 0 of a loop of its own).
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(count, grain,
        Loop{const_cast<void*>(static_cast<const void*>(&body)),
             [](void* context, std::int64_t begin, std::int64_t end, int thread) {
               (*static_cast<Plain*>(context))(begin, end, thread);
             }});
  }

 private:
  struct Loop {
    void* body;
    void (*call)(void*, std::int64_t begin, std::int64_t end, int thread);
  };
  void run(std::int64_t count, std::int64_t grain, const Loop& loop);
  void end_workers();
  void work(int thread);  // a worker's life
  void take_pieces(int thread);
  bool join(std::uint32_t round);

  std::vector<std::thread> workers_;
  std::mutex callers_;  // one loop at a time

  // The loop at hand; written only while no worker is inside.
  Loop loop_{};
  std::int64_t count_ = 0, grain_ = 1;
  std::exception_ptr exception_;
  std::atomic<bool> failed_{false};

  // round_ grows by one with each loop; workers sleep on it. gate_ holds the round in its high half, a bit
  // that says whether workers may still enter, and how many are inside.
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<std::uint64_t> gate_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace retort
