#include "base/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace retort {
namespace {

TEST(ThreadPool, EveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::int64_t count : {0, 1, 7, 1000}) {
      for (const std::int64_t grain : {1, 3, 2000}) {
        std::vector<int> seen(static_cast<std::size_t>(count));
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
          EXPECT_LE(end - begin, grain);
          EXPECT_TRUE(thread >= 0 && thread < threads);
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), std::int64_t{0}), count);
        for (const int times : seen) EXPECT_EQ(times, 1);
      }
    }
  }
}

// Sanitizers reserve more than any limit allows.
#if !defined(__SANITIZE_ADDRESS__)
TEST(ThreadPool, FewerThreadsThanWantedAreAnError) {
  const auto make = [] {
    const rlimit none = {std::size_t{1} << 20, std::size_t{1} << 20};  // no thread's stack fits
    ::setrlimit(RLIMIT_AS, &none);
    try {
      ThreadPool pool(64);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::exit(error.exit_code());
    }
    std::exit(0);
  };
  EXPECT_EXIT(make(), testing::ExitedWithCode(1), "threads: found no more than .*expected 64.*--threads");
}
#endif

TEST(ThreadPool, ManyShortLoopsAndSleepsBetween) {
  ThreadPool pool(3);
  std::int64_t total = 0;
  for (int loop = 0; loop < 20000; ++loop) {
    std::atomic<std::int64_t> sum{0};
    pool.parallel_for(9, 1, [&](std::int64_t begin, std::int64_t, int) { sum += begin; });
    total += sum;
    // The workers fall asleep.
    if (loop % 4000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(total, 20000 * 36);
}

TEST(ThreadPool, ThreadsHaveTheirOwnScratch) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  pool.parallel_for(2000, 1, [&](std::int64_t, std::int64_t, int thread) {
    EXPECT_EQ(inside[static_cast<std::size_t>(thread)].fetch_add(1), 0);
    inside[static_cast<std::size_t>(thread)].fetch_sub(1);
  });
}

TEST(ThreadPool, ExceptionsComeOutAndThePoolGoesOn) {
  ThreadPool pool(2);
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(pool.parallel_for(100, 1,
                                   [&](std::int64_t begin, std::int64_t, int) {
                                     if (begin == 40) throw std::runtime_error("forty");
                                   }),
                 std::runtime_error);
    std::atomic<int> count{0};
    pool.parallel_for(10, 1, [&](std::int64_t, std::int64_t, int) { ++count; });
    EXPECT_EQ(count, 10);
  }
}

TEST(ThreadPool, LoopsInsideLoopsAndFromOtherThreads) {
  ThreadPool pool(2);
  std::atomic<int> count{0};
  const auto loops = [&] {
    pool.parallel_for(8, 1, [&](std::int64_t, std::int64_t, int) {
      pool.parallel_for(5, 1, [&](std::int64_t, std::int64_t, int) { ++count; });
    });
  };
  std::thread other(loops);
  loops();
  other.join();
  EXPECT_EQ(count, 80);
}

}  // namespace
}  // namespace retort
