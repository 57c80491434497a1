// How fast this machine's threads can read memory: the bound of decoding, measured the same way everywhere.
#pragma once

#include "base/thread_pool.h"

namespace retort {

// Bytes a second. Reads a buffer of four times the last cache (at least 256 MiB, at most 2 GiB) with
// prefetches in large pages, on all threads, and takes the best of some passes.
double read_bandwidth(ThreadPool& pool);

}  // namespace retort
