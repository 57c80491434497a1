#include "compress/shrink/calibration.h"

#include <algorithm>

#include "base/error.h"
#include "data/dataset.h"

namespace retort {
namespace {

constexpr std::int64_t kBatchTokens = 4096;
constexpr std::int64_t kLogitsAtOnce = 1 << 23;

}  // namespace

Calibration read_calibration(const ModelFolder& folder, const std::string& file, std::int64_t records,
                             std::int64_t max_length) {
  if (records < 1)
    throw Error({.where = "calibration_records",
                 .found = std::to_string(records),
                 .expected = "at least 1",
                 .advice = ""});
  const auto tokenizer = open_tokenizer(folder.path());
  const auto chat_template = open_chat_template(folder.path());
  const auto& ends = folder.config().eos_token_ids;
  DatasetOptions options;
  options.data = {file};
  options.validation_share = 0;
  options.limit = records;
  options.max_length = std::min(max_length, folder.config().max_position_embeddings);
  const Dataset dataset = load_dataset(options, *tokenizer, chat_template.get(),
                                       ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()));
  Calibration calibration;
  calibration.records = dataset.train.size();
  calibration.targets = dataset.train.total_targets();
  const auto source =
      pack_examples(dataset.train, {.batch_tokens = kBatchTokens, .shuffle = false, .epochs = 1, .seed = 0});
  while (std::optional<Batch> batch = source->next()) calibration.batches.push_back(std::move(*batch));
  return calibration;
}

double nats_per_token(const CausalLM& model, const Calibration& calibration) {
  const at::NoGradGuard no_grad;
  const std::int64_t rows_at_once = std::max<std::int64_t>(16, kLogitsAtOnce / model.config().vocab_size);
  double nats = 0;
  for (const Batch& batch : calibration.batches) {
    const DeviceBatch here = upload(batch, model.device());
    const at::Tensor hidden = model.forward(here, {}, {.targets_only = true}).hidden;
    for (std::int64_t begin = 0; begin < hidden.size(0); begin += rows_at_once) {
      const std::int64_t rows = std::min(rows_at_once, hidden.size(0) - begin);
      const at::Tensor logits = model.logits(hidden.narrow(0, begin, rows));
      nats += at::cross_entropy_loss(logits, here.labels.narrow(0, begin, rows), {}, at::Reduction::Sum)
                  .item<double>();
    }
  }
  return nats / static_cast<double>(calibration.targets);
}

}  // namespace retort
