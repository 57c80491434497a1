#include "training/record_traces.h"

#include <algorithm>

#include "base/clock.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "data/trace_key.h"

namespace retort {
namespace {

// Rows of logits at a time: bounds memory for large vocabularies.
constexpr std::int64_t kLogitBytes = 64 << 20;

// What is left beside the kept tokens is not worth draws below this mass: its share of a divergence is of
// this size.
constexpr double kLeastTail = 1e-5;

// Σ of the tail is rounded as the cumulative sum is; a draw stays below its last value.
constexpr double kBelowOne = 1 - 1e-6;

std::vector<TracedToken> distinct(std::vector<TracedToken> drawn) {
  std::sort(drawn.begin(), drawn.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<TracedToken> out;
  for (const TracedToken& token : drawn)
    if (!out.empty() && out.back().id == token.id)
      ++out.back().draws;
    else
      out.push_back(token);
  return out;
}

ExampleStore missing(const ExampleStore& examples, const TraceStore* known) {
  ExampleStore out;
  for (std::int64_t i = 0; i < examples.size(); ++i) {
    const Example example = examples.get(i);
    if (known == nullptr || !known->targets(trace_key(example))) out.add(example);
  }
  return out;
}

}  // namespace

std::vector<TracedPosition> trace_positions(const at::Tensor& logits, std::span<const std::uint64_t> keys,
                                            const TraceManifest& manifest) {
  const std::int64_t rows = logits.size(0), vocab = logits.size(1), samples = manifest.samples;
  const at::Tensor log_probs = (logits / manifest.temperature).log_softmax(1);
  const auto [top_values, top_ids] = log_probs.topk(std::min(manifest.top_k, vocab), 1);
  const at::Tensor top_host = top_values.cpu(), top_id_host = top_ids.cpu();
  at::Tensor drawn_ids, drawn_values, tail;
  if (samples > 0) {
    const at::Tensor cumulative = log_probs.exp().scatter_(1, top_ids, 0).cumsum_(1);
    const at::Tensor total = cumulative.select(1, vocab - 1);
    // Stratified: one draw in each of `samples` equal parts of the tail. Unbiased, and steadier than free
    // draws.
    at::Tensor places = at::empty({rows, samples}, at::kFloat);
    for (std::int64_t r = 0; r < rows; ++r) {
      Random random(static_cast<std::uint64_t>(manifest.seed), keys[static_cast<std::size_t>(r)]);
      for (std::int64_t s = 0; s < samples; ++s)
        places.mutable_data_ptr<float>()[r * samples + s] = static_cast<float>(
            (static_cast<double>(s) + random.uniform()) / static_cast<double>(samples) * kBelowOne);
    }
    const at::Tensor value = places.to(logits.device()) * total.unsqueeze(1);
    drawn_ids =
        at::searchsorted(cumulative, value, /*out_int32=*/false, /*right=*/true).clamp_max_(vocab - 1);
    drawn_values = log_probs.gather(1, drawn_ids).cpu();
    drawn_ids = drawn_ids.cpu();
    tail = total.contiguous().cpu();  // a column until here
  }
  std::vector<TracedPosition> positions(static_cast<std::size_t>(rows));
  for (std::int64_t r = 0; r < rows; ++r) {
    TracedPosition& position = positions[static_cast<std::size_t>(r)];
    const float* values = top_host.const_data_ptr<float>() + r * top_host.size(1);
    const std::int64_t* ids = top_id_host.const_data_ptr<std::int64_t>() + r * top_host.size(1);
    double left = 1;
    for (std::int64_t k = 0; k < top_host.size(1) && left > kLeastTail; ++k) {
      position.top.push_back({static_cast<std::int32_t>(ids[k]), values[k], 0});
      left -= std::exp(static_cast<double>(values[k]));
    }
    const bool all_kept = static_cast<std::int64_t>(position.top.size()) < top_host.size(1);
    if (samples == 0 || all_kept || tail.const_data_ptr<float>()[r] <= kLeastTail) continue;
    position.tail_mass = tail.const_data_ptr<float>()[r];
    for (std::int64_t s = 0; s < samples; ++s) {
      const float log_prob = drawn_values.const_data_ptr<float>()[r * samples + s];
      position.sampled.push_back(
          {static_cast<std::int32_t>(drawn_ids.const_data_ptr<std::int64_t>()[r * samples + s]), log_prob,
           1});
    }
    position.sampled = distinct(std::move(position.sampled));
  }
  return positions;
}

std::int64_t record_traces(const CausalLM& teacher, const ExampleStore& examples, const TraceStore* known,
                           const TraceManifest& manifest, TraceWriter& writer, const RecordOptions& options,
                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const ExampleStore todo = missing(examples, known);
  if (todo.size() == 0) return 0;
  const auto source = prefetch(
      pack_examples(todo, {.batch_tokens = options.batch_tokens, .shuffle = false, .epochs = 1, .seed = 0}));
  const std::int64_t chunk = std::max<std::int64_t>(1, kLogitBytes / (4 * manifest.vocab_size));
  std::int64_t recorded = 0, targets = 0;
  Clock::time_point flushed = Clock::now();
  while (const std::optional<Batch> batch = source->next()) {
    if (interrupt_requested()) break;
    const DeviceBatch here = upload(*batch, teacher.device());
    const at::Tensor hidden = teacher.forward(here, {}, {.targets_only = true}).hidden;
    std::vector<std::uint64_t> keys, draw_keys;  // per sequence, per target
    std::vector<std::int64_t> counts;
    for (std::int64_t s = 0; s < batch->sequence_count(); ++s) {
      keys.push_back(trace_key(*batch, s));
      std::int64_t count = 0;
      for (std::int64_t i = here.starts[static_cast<std::size_t>(s)];
           i < here.starts[static_cast<std::size_t>(s) + 1]; ++i)
        if (batch->targets[static_cast<std::size_t>(i)] != kNoTarget) {
          const std::int64_t place = count++;
          draw_keys.push_back(hash64({reinterpret_cast<const char*>(&place), sizeof place}, keys.back()));
        }
      counts.push_back(count);
    }
    std::vector<TracedPosition> positions;
    const std::int64_t total = here.target_index.size(0);
    for (std::int64_t first = 0; first < total; first += chunk) {
      const std::int64_t rows = std::min(chunk, total - first);
      const at::Tensor logits =
          teacher.logits(hidden.narrow(0, first, rows)).narrow(1, 0, manifest.vocab_size);
      auto part = trace_positions(
          logits,
          std::span(draw_keys).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
          manifest);
      std::move(part.begin(), part.end(), std::back_inserter(positions));
    }
    std::size_t next = 0;
    for (std::size_t s = 0; s < keys.size(); ++s) {
      const auto count = static_cast<std::size_t>(counts[s]);
      writer.add(keys[s], std::span(positions).subspan(next, count));
      next += count;
    }
    recorded += batch->sequence_count();
    targets += total;
    if (seconds_since(flushed) >= options.flush_seconds) writer.flush(), flushed = Clock::now();
    if (progress) progress(recorded, targets);
  }
  writer.flush();
  return recorded;
}

}  // namespace retort
