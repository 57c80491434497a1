// In which order a packer takes examples.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "data/batch_source.h"

namespace retort {

class ExampleOrder {
 public:
  virtual ~ExampleOrder() = default;
  // Index in the store of the next example, for batch number `batch`; nullopt where a pass over the data
  // ends.
  virtual std::optional<std::int64_t> next(std::int64_t batch) = 0;
  // Goes on after the end of a pass; false when there is no more.
  virtual bool begin_pass() = 0;
  virtual void reweigh(std::span<const double> factors) = 0;
  // restore() throws Error for a state of other data or options, or a place outside the data.
  virtual Json state() const = 0;
  virtual void restore(const Json& state) = 0;
};

// Every example once a pass, shuffled anew for each or as they lie.
std::unique_ptr<ExampleOrder> epoch_order(const ExampleStore& store, const PackingOptions& options);
// Each example's source is drawn by options.mixture, its place in that source comes from the source's own
// shuffled passes: no example comes twice before all of its source have come once. Without end.
std::unique_ptr<ExampleOrder> mixed_order(const ExampleStore& store, const PackingOptions& options);

// Error naming the first key in which a stored state differs from what it must be.
void check_identity(const Json& state, const Json& expected);

}  // namespace retort
