#include "cli/learn_data.h"

#include <fmt/format.h>

#include "base/error.h"

namespace retort {

PackingOptions packing_of(const TrainerOptions& trainer, const MixtureOptions& mixture,
                          const ExampleStore& examples, std::size_t files) {
  PackingOptions packing{
      .batch_tokens = trainer.batch_tokens, .shuffle = true, .epochs = 0, .seed = trainer.seed};
  if (!mixture.on()) return packing;
  std::vector<std::int64_t> sizes(files, 0);
  for (std::int64_t i = 0; i < examples.size(); ++i) ++sizes.at(static_cast<std::size_t>(examples.source(i)));
  const double step_epochs = static_cast<double>(trainer.batch_tokens * trainer.accumulation) /
                             static_cast<double>(examples.total_tokens());
  packing.mixture = [mixture = Mixture(mixture, std::move(sizes)), steps = trainer.steps,
                     accumulation = trainer.accumulation, step_epochs](std::int64_t batch) {
    const std::int64_t step = std::min(batch / accumulation, steps - 1);
    return mixture.ratios({.step = step,
                           .steps = steps,
                           .epoch = static_cast<double>(step) * step_epochs,
                           .epochs = static_cast<double>(steps) * step_epochs});
  };
  return packing;
}

std::unique_ptr<AdaptiveMixture> make_adaptive_mixture(const LearnOptions& options,
                                                       std::vector<BatchSource*> readers) {
  if (options.mixture.adapt == 0) return nullptr;
  const std::size_t files = options.data.data.size(), held_out = options.data.validation.size();
  if (held_out != 0 && held_out != files)
    throw Error({.where = "mixture_adapt",
                 .found = fmt::format("{} files of data and {} of validation", files, held_out),
                 .expected = "a validation file for each, in the same order, or none (a share is set aside)",
                 .advice = ""});
  if (options.trainer.validate_every == 0 || (held_out == 0 && options.data.validation_share == 0))
    throw Error({.where = "mixture_adapt",
                 .found = "no validation during the run",
                 .expected = "validate_every above 0, and something to validate on",
                 .advice = ""});
  return std::make_unique<AdaptiveMixture>(options.mixture.adapt, std::move(readers));
}

std::vector<ExampleStore> by_source(const ExampleStore& store, std::size_t sources) {
  std::vector<ExampleStore> parts(sources);
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const auto source = static_cast<std::size_t>(store.source(i));
    if (source < sources) parts[source].add(store.get(i));
  }
  return parts;
}

}  // namespace retort
