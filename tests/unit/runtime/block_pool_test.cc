#include "runtime/cache/block_pool.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace retort {
namespace {

using Tokens = std::vector<TokenId>;

TEST(BlockPool, HandsOutEachBlockOnceAndSaysWhenNoneIsLeft) {
  BlockPool pool(3, 4);
  const BlockId a = pool.take(), b = pool.take(), c = pool.take();
  EXPECT_EQ((std::vector<BlockId>{a, b, c}), (std::vector<BlockId>{0, 1, 2}));
  EXPECT_EQ(pool.available(), 0);
  EXPECT_THROW(pool.take(), Error);
  pool.share(b);
  pool.release(b);
  EXPECT_EQ(pool.available(), 0) << "the other holder still has it";
  pool.release(b);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_EQ(pool.take(), b);
}

TEST(BlockPool, FindsByTokensAndByWhatStandsBefore) {
  BlockPool pool(4, 2);
  const BlockId a = pool.take(), b = pool.take();
  const PrefixId first = pool.remember(a, 0, Tokens{1, 2});
  const PrefixId second = pool.remember(b, first, Tokens{1, 2});
  EXPECT_NE(first, second);
  EXPECT_EQ(pool.find(0, Tokens{1, 2}).block, a);
  EXPECT_EQ(pool.find(first, Tokens{1, 2}).block, b);
  EXPECT_EQ(pool.find(second, Tokens{1, 2}).block, -1);
  EXPECT_EQ(pool.find(0, Tokens{2, 1}).block, -1);
  EXPECT_EQ(pool.holders(a), 2);
}

TEST(BlockPool, TheSameTokensTwiceHaveOneIdentity) {
  BlockPool pool(4, 2);
  const BlockId a = pool.take(), b = pool.take();
  const PrefixId first = pool.remember(a, 0, Tokens{1, 2});
  EXPECT_EQ(pool.remember(b, 0, Tokens{1, 2}), first);
  pool.release(b);
  EXPECT_EQ(pool.find(0, Tokens{1, 2}).block, a);
}

TEST(BlockPool, ForgetsTheLongestUnusedFirst) {
  BlockPool pool(3, 1);
  const BlockId a = pool.take(), b = pool.take(), c = pool.take();
  pool.remember(a, 0, Tokens{1});
  pool.remember(b, 0, Tokens{2});
  pool.remember(c, 0, Tokens{3});
  pool.release(b);
  pool.release(a);
  pool.release(c);
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(pool.find(0, Tokens{2}).block, b);  // held again: not the oldest any more
  EXPECT_EQ(pool.take(), a);
  EXPECT_EQ(pool.find(0, Tokens{1}).block, -1);
  EXPECT_EQ(pool.take(), c);
  EXPECT_THROW(pool.take(), Error);
  pool.release(b);
  EXPECT_EQ(pool.take(), b);
}

TEST(BlockPool, WhatIsForgottenIsNotFound) {
  BlockPool pool(1, 1);
  const BlockId a = pool.take();
  pool.remember(a, 0, Tokens{1});
  pool.forget(a);
  EXPECT_EQ(pool.find(0, Tokens{1}).block, -1);
  pool.release(a);
  EXPECT_EQ(pool.available(), 1);
}

}  // namespace
}  // namespace retort
