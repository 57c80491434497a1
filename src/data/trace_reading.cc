#include "data/trace_reading.h"

#include <algorithm>

#include "base/error.h"
#include "data/trace_key.h"

namespace retort {
namespace {

class TracedBatches : public BatchSource {
 public:
  TracedBatches(std::unique_ptr<BatchSource> inner, std::shared_ptr<const TraceStore> store)
      : inner_(std::move(inner)), store_(std::move(store)) {}

  std::optional<Batch> next() override {
    std::optional<Batch> batch = inner_->next();
    if (batch) batch->traces = std::make_shared<const TraceRows>(read_traces(*store_, *batch));
    return batch;
  }
  Json state() const override { return inner_->state(); }
  void restore(const Json& state) override { inner_->restore(state); }
  void reweigh(std::span<const double> factors) override { inner_->reweigh(factors); }

 private:
  std::unique_ptr<BatchSource> inner_;
  std::shared_ptr<const TraceStore> store_;
};

}  // namespace

TraceRows read_traces(const TraceStore& store, const Batch& batch) {
  TraceRows rows;
  rows.width = store.width();
  for (std::int64_t s = 0; s < batch.sequence_count(); ++s) {
    const std::uint64_t key = trace_key(batch, s);
    const auto begin = batch.targets.begin() + batch.sequence_starts[static_cast<std::size_t>(s)],
               end = batch.targets.begin() + batch.sequence_starts[static_cast<std::size_t>(s) + 1];
    const std::int64_t targets = (end - begin) - std::count(begin, end, kNoTarget);
    const auto recorded = store.targets(key);
    // A count is not under its record's checksum: it is checked before it says how much to read.
    if (recorded && *recorded != targets)
      throw Error({.where = "traces",
                   .found = std::to_string(*recorded) + " positions of an example",
                   .expected = std::to_string(targets) + ", its targets",
                   .advice = "The store is damaged. Delete its segments and run `retort trace` again."});
    store.read(key, rows);
  }
  return rows;
}

std::unique_ptr<BatchSource> attach_traces(std::unique_ptr<BatchSource> inner,
                                           std::shared_ptr<const TraceStore> store) {
  return std::make_unique<TracedBatches>(std::move(inner), std::move(store));
}

}  // namespace retort
