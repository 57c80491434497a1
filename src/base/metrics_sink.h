// Where a run's numbers go: metrics.jsonl, TensorBoard events, a test's vector. Names say what was computed
// and in what unit ("train/forward_kl" in nats per target token, "train/tokens_per_second").
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace retort {

using Metric = std::pair<std::string, double>;

class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  // One record; `step` is the optimizer step. Called in step order.
  virtual void write(std::int64_t step, const std::vector<Metric>& metrics) = 0;
};

}  // namespace retort
