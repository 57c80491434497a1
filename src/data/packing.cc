#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/example_order.h"

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
    order_ = options.mixture ? mixed_order(store, options) : epoch_order(store, options);
  }

  std::optional<Batch> next() override {
    refill();
    if (waiting_.empty() && !order_->begin_pass()) return std::nullopt;
    Batch batch;
    bool in_order = true;
    for (;;) {
      refill();
      const std::int64_t room = options_.batch_tokens - batch.size();
      std::size_t choice = waiting_.size();
      if (in_order && !waiting_.empty() && store_.token_count(waiting_.front()) <= room)
        choice = 0;
      else
        in_order = false;
      if (!in_order)
        for (std::size_t i = 0; i < waiting_.size(); ++i)
          if (const std::int64_t length = store_.token_count(waiting_[i]);
              length <= room && (choice == waiting_.size() || length > store_.token_count(waiting_[choice])))
            choice = i;
      if (choice == waiting_.size()) break;
      batch.append(store_.get(waiting_[choice]));
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(choice));
    }
    ++batches_;
    return batch;
  }

  void reweigh(std::span<const double> factors) override { order_->reweigh(factors); }

  Json state() const override {
    Json state = order_->state();
    state.update(identity());
    state["batches"] = batches_;
    state["waiting"] = waiting_;
    return state;
  }

  void restore(const Json& state) override {
    const std::string where = "state of the batch source";
    check_identity(state, identity());
    const auto batches = json_get<std::int64_t>(state, "batches", where);
    const auto waiting = json_get<std::vector<std::int64_t>>(state, "waiting", where);
    std::vector<std::int64_t> sorted = waiting;
    std::sort(sorted.begin(), sorted.end());
    const bool twice = !options_.mixture && std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    const bool inside = waiting.empty() || (sorted.front() >= 0 && sorted.back() < store_.size());
    if (batches < 0 || waiting.size() > kLookAhead || twice || !inside)
      throw Error(
          {.where = where, .found = state.dump(), .expected = "places within the data", .advice = ""});
    order_->restore(state);
    batches_ = batches;
    waiting_ = waiting;
  }

 private:
  // What must be equal for a state to mean the same batches.
  Json identity() const {
    return {{"examples", store_.size()},
            {"tokens", store_.total_tokens()},
            {"batch_tokens", options_.batch_tokens}};
  }

  void refill() {
    while (waiting_.size() < kLookAhead) {
      const std::optional<std::int64_t> example = order_->next(batches_);
      if (!example) return;
      waiting_.push_back(*example);
    }
  }

  const ExampleStore& store_;
  PackingOptions options_;
  std::unique_ptr<ExampleOrder> order_;
  std::int64_t batches_ = 0;           // given out
  std::vector<std::int64_t> waiting_;  // examples taken from the order, in their order
};

}  // namespace

void BatchSource::reweigh(std::span<const double>) {
  throw Error(
      {.where = "training data", .found = "no mixture", .expected = "one to weigh anew", .advice = ""},
      ErrorKind::failure);
}

std::unique_ptr<BatchSource> pack_examples(const ExampleStore& store, const PackingOptions& options) {
  return std::make_unique<Packer>(store, options);
}

}  // namespace retort
