#include "runtime/cache/paged_cache.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace retort {

PagedCache::PagedCache(const CacheOptions& options)
    : options_(options),
      total_blocks_(blocks_for(options.tokens)),
      pool_(total_blocks_, options.block_tokens) {
  memory_bytes_ = static_cast<std::size_t>(total_blocks_) * options_.block_bytes;
  void* memory = mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw_system_error(
        fmt::format("key/value cache of {} tokens, {} MB", options.tokens, memory_bytes_ >> 20),
        "Lower --cache-tokens");
  madvise(memory, memory_bytes_, MADV_HUGEPAGE);  // attention reads from many places
  memory_ = static_cast<std::byte*>(memory);
}

PagedCache::~PagedCache() { munmap(memory_, memory_bytes_); }

SequenceId PagedCache::add(PrefixId beginning) {
  SequenceId id;
  if (free_ids_.empty()) {
    id = static_cast<SequenceId>(sequences_.size());
    sequences_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  sequence(id).live = true;
  sequence(id).beginning = beginning;
  return id;
}

std::int64_t PagedCache::sequences(PrefixId beginning) const {
  return std::count_if(sequences_.begin(), sequences_.end(),
                       [&](const Sequence& s) { return s.live && s.beginning == beginning; });
}

void PagedCache::remove(SequenceId id) {
  truncate(id, 0);
  sequence(id).live = false;
  free_ids_.push_back(id);
}

SequenceId PagedCache::fork(SequenceId id) {
  const SequenceId copy = add();
  sequence(copy) = sequence(id);
  for (const BlockId block : sequence(id).blocks) pool_.share(block);
  return copy;
}

std::int64_t PagedCache::reuse_prefix(SequenceId id, std::span<const TokenId> tokens) {
  Sequence& s = sequence(id);
  if (!s.tokens.empty()) return 0;
  const auto size = static_cast<std::size_t>(options_.block_tokens);
  for (std::size_t begin = 0; begin + size < tokens.size(); begin += size) {
    const auto found = pool_.find(last_prefix(s), tokens.subspan(begin, size));
    if (found.block < 0) break;
    s.blocks.push_back(found.block);
    s.prefixes.push_back(found.prefix);
    s.tokens.insert(s.tokens.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                    tokens.begin() + static_cast<std::ptrdiff_t>(begin + size));
  }
  return length(id);
}

void PagedCache::truncate(SequenceId id, std::int64_t length) {
  Sequence& s = sequence(id);
  s.tokens.resize(static_cast<std::size_t>(length));
  // The last first: of remembered blocks the tails of sequences are forgotten before their beginnings.
  for (const auto keep = static_cast<std::size_t>(blocks_for(length)); s.blocks.size() > keep;
       s.blocks.pop_back())
    pool_.release(s.blocks.back());
  const auto full = static_cast<std::size_t>(length / options_.block_tokens);
  if (s.prefixes.size() > full) s.prefixes.resize(full);
}

// Whether the next position falls into a block that others read.
bool PagedCache::copies_last(const Sequence& s) const {
  return s.tokens.size() % static_cast<std::size_t>(options_.block_tokens) != 0 &&
         pool_.holders(s.blocks.back()) > 1;
}

std::int64_t PagedCache::blocks_needed(SequenceId id, std::int64_t count) const {
  const Sequence& s = sequence(id);
  return blocks_for(length(id) + count) - static_cast<std::int64_t>(s.blocks.size()) +
         (count > 0 && copies_last(s) ? 1 : 0);
}

void PagedCache::extend(SequenceId id, std::span<const TokenId> tokens) {
  if (tokens.empty()) return;
  Sequence& s = sequence(id);
  const std::int64_t needed = blocks_needed(id, static_cast<std::int64_t>(tokens.size()));
  if (needed > pool_.available())
    throw Error({.where = "key/value cache",
                 .found = fmt::format("{} of {} blocks free", pool_.available(), total_blocks_),
                 .expected = fmt::format("{} of {} tokens for a sequence of {}", needed,
                                         options_.block_tokens, s.tokens.size() + tokens.size()),
                 .advice = "Raise --cache-tokens, or run fewer or shorter sequences together"});
  if (copies_last(s)) {
    const BlockId copy = pool_.take();
    std::memcpy(block(copy), block(s.blocks.back()), options_.block_bytes);
    pool_.release(s.blocks.back());
    s.blocks.back() = copy;
  } else if (s.tokens.size() % static_cast<std::size_t>(options_.block_tokens) != 0) {
    pool_.forget(s.blocks.back());  // remembered as full, then cut by truncate()
  }
  s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
  while (static_cast<std::int64_t>(s.blocks.size()) < blocks_for(length(id)))
    s.blocks.push_back(pool_.take());
}

void PagedCache::commit(SequenceId id) {
  Sequence& s = sequence(id);
  const auto size = static_cast<std::size_t>(options_.block_tokens);
  while ((s.prefixes.size() + 1) * size <= s.tokens.size()) {
    const std::size_t at = s.prefixes.size();
    s.prefixes.push_back(
        pool_.remember(s.blocks[at], last_prefix(s), std::span(s.tokens).subspan(at * size, size)));
  }
}

}  // namespace retort
