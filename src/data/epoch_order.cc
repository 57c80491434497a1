#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "data/example_order.h"

namespace retort {
namespace {

class EpochOrder : public ExampleOrder {
 public:
  EpochOrder(const ExampleStore& store, const PackingOptions& options)
      : size_(store.size()), options_(options) {
    begin(0);
  }

  std::optional<std::int64_t> next(std::int64_t) override {
    if (next_ == size_) return std::nullopt;
    return order_[static_cast<std::size_t>(next_++)];
  }

  bool begin_pass() override {
    if (options_.epochs != 0 && epoch_ + 1 >= options_.epochs) return false;
    begin(epoch_ + 1);
    return true;
  }

  void reweigh(std::span<const double>) override {
    throw Error(
        {.where = "training data", .found = "no mixture", .expected = "one to weigh anew", .advice = ""},
        ErrorKind::failure);
  }

  Json state() const override {
    Json state = identity();
    state["epoch"] = epoch_;
    state["next"] = next_;
    return state;
  }

  void restore(const Json& state) override {
    check_identity(state, identity());
    const std::string where = "state of the batch source";
    const auto epoch = json_get<std::int64_t>(state, "epoch", where),
               next = json_get<std::int64_t>(state, "next", where);
    if (epoch < 0 || next < 0 || next > size_)
      throw Error(
          {.where = where, .found = state.dump(), .expected = "places within the data", .advice = ""});
    begin(epoch);
    next_ = next;
  }

 private:
  Json identity() const { return {{"shuffle", options_.shuffle}, {"seed", options_.seed}}; }

  void begin(std::int64_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    order_.resize(static_cast<std::size_t>(size_));
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
    if (options_.shuffle)
      Random(static_cast<std::uint64_t>(options_.seed), static_cast<std::uint64_t>(epoch)).shuffle(order_);
  }

  const std::int64_t size_;
  const PackingOptions options_;
  std::int64_t epoch_ = 0, next_ = 0;
  std::vector<std::int64_t> order_;  // example indices of this epoch
};

}  // namespace

std::unique_ptr<ExampleOrder> epoch_order(const ExampleStore& store, const PackingOptions& options) {
  return std::make_unique<EpochOrder>(store, options);
}

void check_identity(const Json& state, const Json& expected) {
  for (const auto& [key, value] : expected.items())
    if (!state.is_object() || !state.contains(key) || state[key] != value)
      throw Error({.where = "state of the batch source: " + key,
                   .found = state.is_object() && state.contains(key) ? state[key].dump() : "nothing",
                   .expected = value.dump(),
                   .advice = "Go on with the data and options that the run began with"});
}

}  // namespace retort
