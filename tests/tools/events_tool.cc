// Metrics sinks for the parity test: writes scalars into the folder given, as a run of six steps that is
// killed and resumed at step 4.
#include <filesystem>

#include "report/report.h"

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  const auto run = [&](std::int64_t begin, std::int64_t end, double offset) {
    const auto events = retort::open_tensorboard(folder / "events", begin);
    const auto lines = retort::open_metrics_jsonl(folder / "metrics.jsonl", begin);
    for (std::int64_t step = begin; step < end; ++step) {
      const double value = offset + 1.0 / static_cast<double>(step + 3);
      for (retort::MetricsSink* sink : {events.get(), lines.get()})
        sink->write(step,
                    {{"train/cross_entropy", value}, {"训练/速度", -1e30 * value}, {"train/tiny", 1e-300}});
    }
  };
  run(0, 6, 0);
  run(4, 9, 100);
}
