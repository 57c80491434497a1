// Batches drawn from several sources in given ratios.
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "base/error.h"
#include "data/batch_source.h"

namespace retort {
namespace {

// 40, 8 and 0 examples of source 0, 1 and 2, four tokens each.
ExampleStore three_sources() {
  ExampleStore store;
  for (int i = 0; i < 48; ++i)
    store.add({.tokens = {i, i, i, i},
               .is_target = {0, 1, 1, 1},
               .id = static_cast<std::uint64_t>(i),
               .source = i < 40 ? 0 : 1});
  return store;
}

PackingOptions mixing(std::function<std::vector<double>(std::int64_t)> ratios) {
  return {.batch_tokens = 40, .seed = 5, .mixture = std::move(ratios)};
}

std::map<std::int32_t, int> counts(BatchSource& source, int batches) {
  std::map<std::int32_t, int> count;
  for (int i = 0; i < batches; ++i) {
    const std::optional<Batch> batch = source.next();
    for (const std::int32_t s : batch->sources) ++count[s];
  }
  return count;
}

TEST(MixedOrder, KeepsTheRatios) {
  const ExampleStore store = three_sources();
  const auto source = pack_examples(store, mixing([](std::int64_t) { return std::vector<double>{1, 3, 5}; }));
  const auto count = counts(*source, 400);
  // 4,000 draws of a source with p = 3/4: standard deviation 27.
  EXPECT_NEAR(count.at(1), 3000, 110);
  EXPECT_EQ(count.at(0) + count.at(1), 4000);
  EXPECT_FALSE(count.contains(2));  // without examples it has no share
}

TEST(MixedOrder, FollowsRatiosOfTheBatchAndFactors) {
  const ExampleStore store = three_sources();
  const auto source =
      pack_examples(store, mixing([](std::int64_t batch) {
                      return batch < 50 ? std::vector<double>{1, 0} : std::vector<double>{0, 1};
                    }));
  // The look-ahead holds 64 examples that were drawn before.
  EXPECT_FALSE(counts(*source, 50).contains(1));
  counts(*source, 7);
  EXPECT_FALSE(counts(*source, 20).contains(0));
  const auto even = pack_examples(store, mixing([](std::int64_t) { return std::vector<double>{1, 1}; }));
  even->reweigh(std::vector<double>{0, 2});
  EXPECT_FALSE(counts(*even, 20).contains(0));
}

TEST(MixedOrder, TakesEveryExampleOfASourceBeforeOneComesAgain) {
  const ExampleStore store = three_sources();
  const auto source = pack_examples(store, mixing([](std::int64_t) { return std::vector<double>{0, 1}; }));
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 40; ++i) {
    const auto batch = source->next();
    ids.insert(ids.end(), batch->example_ids.begin(), batch->example_ids.end());
  }
  for (std::size_t pass = 0; pass + 8 <= ids.size(); pass += 8)
    EXPECT_EQ(std::set<std::uint64_t>(ids.begin() + static_cast<std::ptrdiff_t>(pass),
                                      ids.begin() + static_cast<std::ptrdiff_t>(pass + 8))
                  .size(),
              8u);
}

TEST(MixedOrder, KilledAnywhereItGoesOnWithTheSameBatches) {
  const ExampleStore store = three_sources();
  const auto ratios = [](std::int64_t batch) {
    return std::vector<double>{1, 0.01 * static_cast<double>(batch)};
  };
  const auto whole = prefetch(pack_examples(store, mixing(ratios)));
  const auto go = [](BatchSource& source, std::int64_t batch) {
    if (batch == 30) source.reweigh(std::vector<double>{0.5, 3});
    return source.next()->example_ids;
  };
  std::vector<Json> states;
  std::vector<std::vector<std::uint64_t>> batches;
  for (std::int64_t i = 0; i < 60; ++i) {
    states.push_back(whole->state());
    batches.push_back(go(*whole, i));
  }
  for (const std::int64_t killed : {0, 7, 29, 30, 31, 50}) {
    const auto again = prefetch(pack_examples(store, mixing(ratios)));
    again->restore(parse_json(states[static_cast<std::size_t>(killed)].dump(), "state"));
    for (std::int64_t i = killed; i < 60; ++i)
      EXPECT_EQ(go(*again, i), batches[static_cast<std::size_t>(i)]) << killed << " " << i;
  }
}

TEST(MixedOrder, ErrorsOfRatiosAndStates) {
  const ExampleStore store = three_sources();
  EXPECT_THROW(pack_examples(store, mixing([](std::int64_t) {
                               return std::vector<double>{0, 0, 1};
                             }))
                   ->next(),
               Error);
  const auto even = [](std::int64_t) { return std::vector<double>{1, 1}; };
  const auto source = pack_examples(store, mixing(even));
  const Json good = source->state();
  EXPECT_THROW(source->restore(pack_examples(store, {.batch_tokens = 40, .seed = 5})->state()), Error);
  for (const auto& [key, value] :
       {std::pair<const char*, Json>{"draws", -1}, {"factors", {1}}, {"passes", Json::array()}}) {
    Json bad = good;
    bad[key] = value;
    EXPECT_THROW(source->restore(bad), Error) << key;
  }
  source->restore(good);
  EXPECT_THROW(pack_examples(store, {.batch_tokens = 40})->reweigh(std::vector<double>{1}), Error);
}

}  // namespace
}  // namespace retort
