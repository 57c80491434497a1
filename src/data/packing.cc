#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "data/batch_source.h"

namespace retort {
namespace {

// When the next example no longer fits, the gap is filled with the longest that does among this many
// following ones. Those passed over keep their places, so that an example is late by a batch or two at most
// and order stays random.
constexpr std::size_t kLookAhead = 64;

class Packer : public BatchSource {
 public:
  Packer(const ExampleStore& store, const PackingOptions& options) : store_(store), options_(options) {
    if (store.size() == 0)
      throw Error(
          {.where = "training data", .found = "no examples", .expected = "at least one", .advice = ""});
    std::int64_t longest = 0;
    for (std::int64_t i = 0; i < store.size(); ++i) longest = std::max(longest, store.token_count(i));
    if (longest > options.batch_tokens)
      throw Error({.where = "batch_tokens",
                   .found = fmt::format("{}", options.batch_tokens),
                   .expected = fmt::format("at least {}, the length of the longest example", longest),
                   .advice = "Raise batch_tokens or lower max_length"});
    begin_epoch(0);
  }

  std::optional<Batch> next() override {
    if (waiting_.empty() && next_ == store_.size()) {
      if (options_.epochs != 0 && epoch_ + 1 >= options_.epochs) return std::nullopt;
      begin_epoch(epoch_ + 1);
    }
    Batch batch;
    bool in_order = true;
    for (;;) {
      refill();
      const std::int64_t room = options_.batch_tokens - batch.size();
      std::size_t choice = waiting_.size();
      if (in_order && !waiting_.empty() && length(waiting_.front()) <= room)
        choice = 0;
      else
        in_order = false;
      if (!in_order)
        for (std::size_t i = 0; i < waiting_.size(); ++i)
          if (length(waiting_[i]) <= room &&
              (choice == waiting_.size() || length(waiting_[i]) > length(waiting_[choice])))
            choice = i;
      if (choice == waiting_.size()) return batch;
      batch.append(store_.get(order_[static_cast<std::size_t>(waiting_[choice])]));
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(choice));
    }
  }

  Json state() const override {
    Json state = identity();
    state["epoch"] = epoch_;
    state["next"] = next_;
    state["waiting"] = waiting_;
    return state;
  }

  void restore(const Json& state) override {
    const std::string where = "state of the batch source";
    const Json own = identity();
    for (const auto& [key, value] : own.items())
      if (!state.contains(key) || state[key] != value)
        throw Error({.where = where + ": " + key,
                     .found = state.contains(key) ? state[key].dump() : "nothing",
                     .expected = value.dump(),
                     .advice = "Go on with the data and options that the run began with"});
    const auto epoch = json_get<std::int64_t>(state, "epoch", where),
               next = json_get<std::int64_t>(state, "next", where);
    const auto waiting = json_get<std::vector<std::int64_t>>(state, "waiting", where);
    const bool ascending =
        std::adjacent_find(waiting.begin(), waiting.end(), std::greater_equal<>()) == waiting.end();
    const bool inside = waiting.empty() || (waiting.front() >= 0 && waiting.back() < next);
    if (epoch < 0 || next < 0 || next > store_.size() || waiting.size() > kLookAhead || !ascending || !inside)
      throw Error(
          {.where = where, .found = state.dump(), .expected = "places within the data", .advice = ""});
    begin_epoch(epoch);
    next_ = next;
    waiting_ = waiting;
  }

 private:
  // What must be equal for a state to mean the same batches.
  Json identity() const {
    return {{"examples", store_.size()},
            {"tokens", store_.total_tokens()},
            {"batch_tokens", options_.batch_tokens},
            {"shuffle", options_.shuffle},
            {"seed", options_.seed}};
  }

  void begin_epoch(std::int64_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    waiting_.clear();
    order_.resize(static_cast<std::size_t>(store_.size()));
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
    if (options_.shuffle)
      Random(static_cast<std::uint64_t>(options_.seed), static_cast<std::uint64_t>(epoch)).shuffle(order_);
  }

  void refill() {
    while (waiting_.size() < kLookAhead && next_ < store_.size()) waiting_.push_back(next_++);
  }

  std::int64_t length(std::int64_t place) const {
    return store_.token_count(order_[static_cast<std::size_t>(place)]);
  }

  const ExampleStore& store_;
  PackingOptions options_;
  std::int64_t epoch_ = 0, next_ = 0;  // next_: the first place in order_ that never waited
  std::vector<std::int64_t> order_;    // example indices of this epoch
  std::vector<std::int64_t> waiting_;  // places in order_, ascending
};

}  // namespace

std::unique_ptr<BatchSource> pack_examples(const ExampleStore& store, const PackingOptions& options) {
  return std::make_unique<Packer>(store, options);
}

}  // namespace retort
