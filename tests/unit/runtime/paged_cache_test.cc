#include "runtime/cache/paged_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::int64_t kBlock = 4;

std::vector<TokenId> tokens(std::size_t count, TokenId first = 0) {
  std::vector<TokenId> result(count);
  std::iota(result.begin(), result.end(), first);
  return result;
}

// One byte a position stands for its key and value.
void write(PagedCache& cache, SequenceId id, const std::vector<TokenId>& added) {
  const std::int64_t begin = cache.length(id);
  cache.extend(id, added);
  for (std::int64_t i = begin; i < cache.length(id); ++i)
    cache.block(cache.blocks(id)[static_cast<std::size_t>(i / kBlock)])[i % kBlock] =
        static_cast<std::byte>(cache.tokens(id)[static_cast<std::size_t>(i)]);
  cache.commit(id);
}

std::vector<TokenId> read(const PagedCache& cache, SequenceId id) {
  std::vector<TokenId> result;
  for (std::int64_t i = 0; i < cache.length(id); ++i)
    result.push_back(std::to_integer<TokenId>(
        cache.block(cache.blocks(id)[static_cast<std::size_t>(i / kBlock)])[i % kBlock]));
  return result;
}

std::vector<TokenId> joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(PagedCache, AForkSharesThePastAndWritesItsOwnFuture) {
  PagedCache cache({.tokens = 40, .block_tokens = kBlock, .block_bytes = kBlock});
  const SequenceId a = cache.add();
  write(cache, a, tokens(6));
  const SequenceId b = cache.fork(a);
  EXPECT_EQ(cache.available_blocks(), 8);
  write(cache, b, {50});
  EXPECT_EQ(cache.available_blocks(), 7) << "only the block that b writes to is copied";
  write(cache, a, {60, 61, 62});
  EXPECT_EQ(read(cache, a), joined(tokens(6), {60, 61, 62}));
  EXPECT_EQ(read(cache, b), joined(tokens(6), {50}));
  EXPECT_EQ(cache.blocks(a)[0], cache.blocks(b)[0]);
  EXPECT_NE(cache.blocks(a)[1], cache.blocks(b)[1]);
  cache.remove(a);
  EXPECT_EQ(read(cache, b), joined(tokens(6), {50}));
  cache.remove(b);
  EXPECT_EQ(cache.available_blocks(), 10);
}

TEST(PagedCache, FindsWhatBeginsTheSame) {
  PagedCache cache({.tokens = 40, .block_tokens = kBlock, .block_bytes = kBlock});
  const SequenceId a = cache.add();
  write(cache, a, tokens(10));
  const SequenceId b = cache.add();
  EXPECT_EQ(cache.reuse_prefix(b, joined(tokens(9), {99})), 8);
  EXPECT_EQ(read(cache, b), tokens(8));
  cache.remove(a);
  const SequenceId c = cache.add();
  EXPECT_EQ(cache.reuse_prefix(c, tokens(8)), 4) << "the last token is computed, its output is wanted";
  const SequenceId d = cache.add();
  EXPECT_EQ(cache.reuse_prefix(d, joined({7}, tokens(20))), 0);
  cache.remove(b);
  cache.remove(c);
  cache.remove(d);
  EXPECT_EQ(cache.available_blocks(), 10);
}

TEST(PagedCache, TruncationKeepsTheRestAndNeverServesStaleBlocks) {
  PagedCache cache({.tokens = 40, .block_tokens = kBlock, .block_bytes = kBlock});
  const SequenceId a = cache.add();
  write(cache, a, tokens(8));
  cache.truncate(a, 6);
  write(cache, a, {90, 91, 92});
  EXPECT_EQ(read(cache, a), joined(tokens(6), {90, 91, 92}));
  const SequenceId b = cache.add();
  EXPECT_EQ(cache.reuse_prefix(b, tokens(12)), 4) << "the second block was overwritten";
  const SequenceId c = cache.add();
  EXPECT_EQ(cache.reuse_prefix(c, joined(tokens(6), {90, 91, 5})), 8);
}

TEST(PagedCache, ExhaustionIsAnErrorThatChangesNothing) {
  PagedCache cache({.tokens = 8, .block_tokens = kBlock, .block_bytes = kBlock});
  const SequenceId a = cache.add();
  write(cache, a, tokens(3));
  EXPECT_THROW(cache.extend(a, tokens(6)), Error);
  EXPECT_EQ(read(cache, a), tokens(3));
  write(cache, a, {3, 4, 5, 6, 7});
  const SequenceId b = cache.fork(a);
  EXPECT_THROW(cache.extend(b, tokens(1)), Error);
  cache.truncate(b, 7);
  EXPECT_EQ(cache.blocks_needed(b, 1), 1);
  EXPECT_THROW(cache.extend(b, tokens(1)), Error);
  cache.remove(a);
  write(cache, b, {70});
  EXPECT_EQ(read(cache, b), joined(tokens(7), {70}));
}

// Random adds, forks, cuts and removals against a plain copy of every sequence.
TEST(PagedCache, AgreesWithPlainCopies) {
  PagedCache cache({.tokens = 64, .block_tokens = kBlock, .block_bytes = kBlock});
  std::vector<std::pair<SequenceId, std::vector<TokenId>>> live;
  std::uint64_t state = 7;
  const auto below = [&](std::uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
  };
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t action = below(10);
    if (live.empty() || (action == 0 && live.size() < 8)) {
      std::vector<TokenId> prompt(1 + below(12));
      for (TokenId& token : prompt) token = static_cast<TokenId>(below(2));
      const SequenceId id = cache.add();
      const auto reused = static_cast<std::size_t>(cache.reuse_prefix(id, prompt));
      ASSERT_LT(reused, prompt.size());
      if (cache.blocks_needed(id, static_cast<std::int64_t>(prompt.size() - reused)) >
          cache.available_blocks()) {
        cache.remove(id);
        continue;
      }
      write(cache, id, {prompt.begin() + static_cast<std::ptrdiff_t>(reused), prompt.end()});
      live.emplace_back(id, prompt);
    } else {
      const std::size_t at = below(live.size());
      auto& [id, copy] = live[at];
      if (action == 1 && live.size() < 8) {
        live.emplace_back(cache.fork(id), copy);
      } else if (action == 2) {
        copy.resize(below(copy.size() + 1));
        cache.truncate(id, static_cast<std::int64_t>(copy.size()));
      } else if (action == 3) {
        cache.remove(id);
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (cache.blocks_needed(id, 1) <= cache.available_blocks()) {
        copy.push_back(static_cast<TokenId>(below(2)));
        write(cache, id, {copy.back()});
      }
    }
    for (const auto& [id, copy] : live) ASSERT_EQ(read(cache, id), copy) << "step " << step;
  }
}

}  // namespace
}  // namespace retort
