#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "base/random.h"
#include "data/batch_source.h"

namespace retort {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ExampleStore make_store(std::int64_t count, std::uint64_t longest) {
  ExampleStore store;
  Random random(3);
  for (std::int64_t i = 0; i < count; ++i) {
    Example example;
    example.tokens.assign(2 + random.below(longest - 1), static_cast<TokenId>(i));
    example.is_target.assign(example.tokens.size(), 1);
    example.is_target[0] = 0;
    example.id = static_cast<std::uint64_t>(i);
    store.add(example);
  }
  return store;
}

std::vector<Batch> take(BatchSource& source, int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i)
    if (auto batch = source.next()) batches.push_back(std::move(*batch));
  return batches;
}

void expect_equal(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.example_ids, b.example_ids);
  EXPECT_EQ(a.sequence_starts, b.sequence_starts);
}

TEST(Batch, ShiftsOnceWithinASequence) {
  Batch batch;
  batch.append({.tokens = {10, 11, 12, 13}, .is_target = {0, 0, 1, 1}, .id = 5, .source = 1, .weight = 0.5f});
  batch.append({.tokens = {20, 21}, .is_target = {1, 1}, .id = 6});
  EXPECT_THAT(batch.tokens, ElementsAre(10, 11, 12, 13, 20, 21));
  EXPECT_THAT(batch.targets, ElementsAre(kNoTarget, 12, 13, kNoTarget, 21, kNoTarget));
  EXPECT_THAT(batch.weights, ElementsAre(0, 0.5f, 0.5f, 0, 1, 0));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 3, 0, 1));
  EXPECT_THAT(batch.sequence_starts, ElementsAre(0, 4, 6));
  EXPECT_THAT(batch.example_ids, ElementsAre(5u, 6u));
  EXPECT_THAT(batch.sources, ElementsAre(1, 0));
  EXPECT_EQ(batch.target_count(), 3);
}

TEST(ExampleStore, GivesBackWhatWasAdded) {
  ExampleStore store;
  store.add({.tokens = {1, 2}, .is_target = {0, 1}, .id = 7, .source = 2, .weight = 3});
  store.add({.tokens = {4, 5, 6}, .is_target = {1, 0, 1}, .id = 8});
  const Example second = store.get(1), first = store.get(0);
  EXPECT_THAT(second.tokens, ElementsAre(4, 5, 6));
  EXPECT_THAT(second.is_target, ElementsAre(1, 0, 1));
  EXPECT_EQ(first.id, 7u);
  EXPECT_EQ(first.source, 2);
  EXPECT_EQ(first.weight, 3);
  EXPECT_EQ(store.total_targets(), 2);
  EXPECT_EQ(store.total_tokens(), 5);
  EXPECT_THROW(store.get(2), std::out_of_range);
}

TEST(Packing, EveryEpochHasEachExampleOnceAndBatchesAreFull) {
  const ExampleStore store = make_store(2000, 60);
  const auto source = pack_examples(store, {.batch_tokens = 512, .epochs = 2, .seed = 1});
  std::multiset<std::uint64_t> seen;
  std::int64_t tokens = 0, batches = 0;
  std::vector<std::uint64_t> first_of_epoch[2];
  while (const auto batch = source->next()) {
    EXPECT_LE(batch->size(), 512);
    EXPECT_GT(batch->size(), 0);
    first_of_epoch[seen.size() / 2000].push_back(batch->example_ids[0]);
    seen.insert(batch->example_ids.begin(), batch->example_ids.end());
    tokens += batch->size();
    ++batches;
  }
  EXPECT_EQ(seen.size(), 4000u);
  for (std::uint64_t id = 0; id < 2000; ++id) EXPECT_EQ(seen.count(id), 2u);
  EXPECT_GT(static_cast<double>(tokens) / static_cast<double>(batches * 512), 0.98);
  EXPECT_NE(first_of_epoch[0], first_of_epoch[1]);
  EXPECT_FALSE(source->next().has_value());
}

TEST(Packing, SeedFixesTheOrder) {
  const ExampleStore store = make_store(300, 30);
  const auto order = [&](std::int64_t seed, bool shuffle) {
    std::vector<std::uint64_t> ids;
    const auto source =
        pack_examples(store, {.batch_tokens = 128, .shuffle = shuffle, .epochs = 1, .seed = seed});
    while (const auto batch = source->next())
      ids.insert(ids.end(), batch->example_ids.begin(), batch->example_ids.end());
    return ids;
  };
  EXPECT_EQ(order(1, true), order(1, true));
  EXPECT_NE(order(1, true), order(2, true));
  EXPECT_EQ(order(1, false), order(2, false));
  EXPECT_EQ(order(1, false)[0], 0u);
}

TEST(Packing, KilledAnywhereItGoesOnWithTheSameBatches) {
  const ExampleStore store = make_store(200, 40);
  const PackingOptions options{.batch_tokens = 100, .epochs = 3, .seed = 9};
  const auto whole = pack_examples(store, options);
  std::vector<Json> states = {whole->state()};
  std::vector<Batch> batches;
  while (auto batch = whole->next()) {
    batches.push_back(std::move(*batch));
    states.push_back(parse_json(whole->state().dump(), "state"));
  }
  ASSERT_GT(batches.size(), 100u);
  for (std::size_t killed = 0; killed < states.size(); ++killed) {
    const auto again = pack_examples(store, options);
    take(*again, 3);  // restore() must not depend on where the source stands
    again->restore(states[killed]);
    for (std::size_t i = killed; i < std::min(batches.size(), killed + 12); ++i) {
      const auto batch = again->next();
      ASSERT_TRUE(batch.has_value());
      expect_equal(*batch, batches[i]);
    }
    if (killed + 12 >= batches.size()) {
      EXPECT_FALSE(again->next().has_value());
    }
  }
}

TEST(Packing, ForeignAndBrokenStatesAreErrors) {
  const ExampleStore store = make_store(50, 20), other = make_store(51, 20);
  const auto source = pack_examples(store, {.batch_tokens = 64, .seed = 1});
  const Json good = source->state();
  EXPECT_THROW(source->restore(pack_examples(other, {.batch_tokens = 64, .seed = 1})->state()), Error);
  EXPECT_THROW(source->restore(pack_examples(store, {.batch_tokens = 64, .seed = 2})->state()), Error);
  EXPECT_THROW(source->restore(Json::object()), Error);
  for (const auto& [key, value] : {std::pair<const char*, Json>{"next", 51},
                                   {"next", -1},
                                   {"epoch", -1},
                                   {"waiting", {3, 3}},
                                   {"waiting", {50}},
                                   {"batches", -1},
                                   {"waiting", {-1}},
                                   {"waiting", "x"}}) {
    Json bad = good;
    bad["next"] = 5;
    bad[key] = value;
    EXPECT_THROW(source->restore(bad), Error) << bad.dump();
  }
  source->restore(good);
}

TEST(Packing, LongestExampleMustFit) {
  const ExampleStore store = make_store(1, 2);
  try {
    pack_examples(store, {.batch_tokens = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("found 1,"), HasSubstr("at least 2")));
  }
  EXPECT_THROW(pack_examples(ExampleStore(), {}), Error);
}

class FailingSource : public BatchSource {
 public:
  explicit FailingSource(int good) : good_(good) {}
  std::optional<Batch> next() override {
    if (count_ == good_) throw Error({.where = "inner", .found = "a failure", .expected = "", .advice = ""});
    Batch batch;
    batch.append({.tokens = {count_++}, .is_target = {0}});
    return batch;
  }
  Json state() const override { return count_; }
  void restore(const Json& state) override {
    if (!state.is_number()) throw Error({.where = "state", .found = "", .expected = "", .advice = ""});
    count_ = state.get<int>();
  }

 private:
  int good_, count_ = 0;
};

TEST(Prefetch, GivesTheSameBatchesAndTheStateOfThoseHandedOut) {
  const ExampleStore store = make_store(200, 40);
  const PackingOptions options{.batch_tokens = 100, .epochs = 2, .seed = 9};
  const auto plain = pack_examples(store, options), ahead = prefetch(pack_examples(store, options), 3);
  EXPECT_EQ(ahead->state(), plain->state());
  std::vector<Batch> batches;
  Json middle;
  for (int i = 0;; ++i) {
    const auto a = plain->next(), b = ahead->next();
    ASSERT_EQ(a.has_value(), b.has_value());
    EXPECT_EQ(ahead->state(), plain->state());
    if (!a) break;
    expect_equal(*a, *b);
    if (i == 20) middle = ahead->state();
    if (i > 20) batches.push_back(*a);
  }
  EXPECT_FALSE(ahead->next().has_value());
  ahead->restore(middle);
  for (const Batch& batch : batches) expect_equal(*ahead->next(), batch);
  EXPECT_FALSE(ahead->next().has_value());
}

TEST(Prefetch, InnerFailureReachesTheConsumerInItsPlace) {
  const auto source = prefetch(std::make_unique<FailingSource>(2));
  EXPECT_EQ(source->next()->tokens[0], 0);
  EXPECT_EQ(source->next()->tokens[0], 1);
  EXPECT_THROW(source->next(), Error);
  EXPECT_THROW(source->next(), Error);
  source->restore(1);
  EXPECT_EQ(source->next()->tokens[0], 1);
  EXPECT_THROW(source->restore("nonsense"), Error);
  EXPECT_THROW(source->next(), Error);  // it stands where it stood: before the failing batch
}

TEST(Prefetch, EndsCleanlyWhileBlocked) {
  for (int round = 0; round < 200; ++round) {
    const auto source = prefetch(std::make_unique<FailingSource>(1000), 1 + round % 3);
    for (int i = 0; i < round % 7; ++i) source->next();
    if (round % 5 == 0) source->restore(round);
    if (round % 5 == 0) {
      EXPECT_EQ(source->next()->tokens[0], round);
    }
  }
}

}  // namespace
}  // namespace retort
