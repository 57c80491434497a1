#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "data/example_order.h"

namespace retort {
namespace {

constexpr std::uint64_t kDrawStream = std::uint64_t{1} << 63;  // apart from the shuffles' streams

// One source's examples in passes.
struct SourcePasses {
  std::vector<std::int64_t> examples;  // as they lie in the store
  std::vector<std::int64_t> order;     // of this pass
  std::int64_t pass = 0, next = 0;
};

class MixedOrder : public ExampleOrder {
 public:
  MixedOrder(const ExampleStore& store, const PackingOptions& options) : options_(options) {
    for (std::int64_t i = 0; i < store.size(); ++i) {
      const auto source = static_cast<std::size_t>(store.source(i));
      if (source >= sources_.size()) sources_.resize(source + 1);
      sources_[source].examples.push_back(i);
    }
    factors_.assign(sources_.size(), 1);
    for (std::size_t s = 0; s < sources_.size(); ++s) begin(s, 0);
  }

  std::optional<std::int64_t> next(std::int64_t batch) override {
    const std::size_t chosen = draw(options_.mixture(batch));
    SourcePasses& source = sources_[chosen];
    if (source.next == static_cast<std::int64_t>(source.order.size())) begin(chosen, source.pass + 1);
    return source.order[static_cast<std::size_t>(source.next++)];
  }

  bool begin_pass() override { return false; }

  void reweigh(std::span<const double> factors) override {
    for (std::size_t s = 0; s < factors_.size(); ++s) factors_[s] = s < factors.size() ? factors[s] : 1;
  }

  Json state() const override {
    Json state = identity();
    state["draws"] = draws_;
    state["factors"] = factors_;
    state["passes"] = state["places"] = Json::array();
    for (const SourcePasses& source : sources_) {
      state["passes"].push_back(source.pass);
      state["places"].push_back(source.next);
    }
    return state;
  }

  void restore(const Json& state) override {
    check_identity(state, identity());
    const std::string where = "state of the batch source";
    const auto draws = json_get<std::int64_t>(state, "draws", where);
    const auto factors = json_get<std::vector<double>>(state, "factors", where);
    const auto passes = json_get<std::vector<std::int64_t>>(state, "passes", where),
               places = json_get<std::vector<std::int64_t>>(state, "places", where);
    bool fits = draws >= 0 && factors.size() == sources_.size() && passes.size() == sources_.size() &&
                places.size() == sources_.size();
    for (std::size_t s = 0; fits && s < places.size(); ++s)
      fits = passes[s] >= 0 && places[s] >= 0 &&
             places[s] <= static_cast<std::int64_t>(sources_[s].examples.size()) &&
             std::isfinite(factors[s]) && factors[s] >= 0;
    if (!fits)
      throw Error(
          {.where = where, .found = state.dump(), .expected = "places within the data", .advice = ""});
    draws_ = draws;
    factors_ = factors;
    for (std::size_t s = 0; s < places.size(); ++s) {
      begin(s, passes[s]);
      sources_[s].next = places[s];
    }
  }

 private:
  Json identity() const {
    Json sizes = Json::array();
    for (const SourcePasses& source : sources_) sizes.push_back(source.examples.size());
    return {{"seed", options_.seed}, {"sizes", sizes}};
  }

  std::size_t draw(const std::vector<double>& ratios) {
    std::vector<double> shares(sources_.size(), 0);
    double sum = 0;
    for (std::size_t s = 0; s < sources_.size(); ++s)
      if (s < ratios.size() && !sources_[s].examples.empty()) sum += shares[s] = ratios[s] * factors_[s];
    if (!(sum > 0) || !std::isfinite(sum))
      throw Error({.where = "mixture",
                   .found = "ratios that are zero for every source with examples",
                   .expected = "one above zero",
                   .advice = ""});
    const auto seed = static_cast<std::uint64_t>(options_.seed);
    double place = sum * Random(seed, kDrawStream + static_cast<std::uint64_t>(draws_++)).uniform();
    std::size_t chosen = 0;
    for (std::size_t s = 0; s < shares.size(); ++s) {
      if (shares[s] <= 0) continue;
      chosen = s;  // rounding may leave a last sliver: the last source takes it
      if ((place -= shares[s]) < 0) break;
    }
    return chosen;
  }

  void begin(std::size_t s, std::int64_t pass) {
    SourcePasses& source = sources_[s];
    source.pass = pass;
    source.next = 0;
    source.order = source.examples;
    Random(static_cast<std::uint64_t>(options_.seed),
           (static_cast<std::uint64_t>(s) << 40) + static_cast<std::uint64_t>(pass))
        .shuffle(source.order);
  }

  const PackingOptions options_;
  std::vector<SourcePasses> sources_;  // by Example::source
  std::vector<double> factors_;
  std::int64_t draws_ = 0;
};

}  // namespace

std::unique_ptr<ExampleOrder> mixed_order(const ExampleStore& store, const PackingOptions& options) {
  return std::make_unique<MixedOrder>(store, options);
}

}  // namespace retort
