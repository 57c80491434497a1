#include "model/score.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::int64_t kLogitsPerChunk = 1 << 22;  // 16 MiB of fp32

// Which token each row predicts.
struct Prediction {
  std::size_t sequence;
  std::int64_t row, token;
};

void score_rows(const CausalLM& model, const at::Tensor& hidden, std::span<const Prediction> rows,
                const ScoreOptions& options, std::vector<Scores>& out) {
  std::vector<std::int64_t> index, tokens;
  for (const Prediction& row : rows) {
    index.push_back(row.row);
    tokens.push_back(row.token);
  }
  const at::Tensor logits =
      model.logits(hidden.index_select(0, at::tensor(index, at::kLong).to(hidden.device())));
  const at::Tensor lse = logits.logsumexp(1, /*keepdim=*/true);
  const at::Tensor target = at::tensor(tokens, at::kLong).to(hidden.device()).unsqueeze(1);
  const at::Tensor logprobs = (logits.gather(1, target) - lse).to(at::kCPU);
  at::Tensor entropy, top_values, top_tokens;
  if (options.entropy) entropy = (lse.squeeze(1) - (logits.softmax(1) * logits).sum(1)).to(at::kCPU);
  if (options.top_k > 0) {
    std::tie(top_values, top_tokens) = logits.topk(std::min<std::int64_t>(options.top_k, logits.size(1)), 1);
    top_values = (top_values - lse).to(at::kCPU).contiguous();
    top_tokens = top_tokens.to(at::kCPU).contiguous();
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Scores& scores = out[rows[i].sequence];
    scores.logprobs.push_back(logprobs.data_ptr<float>()[i]);
    if (options.entropy) scores.entropy.push_back(entropy.data_ptr<float>()[i]);
    if (options.top_k > 0) {
      auto& top = scores.top.emplace_back();
      const std::int64_t k = top_values.size(1);
      for (std::int64_t j = static_cast<std::int64_t>(i) * k; j < static_cast<std::int64_t>(i + 1) * k; ++j)
        top.push_back(
            {static_cast<TokenId>(top_tokens.data_ptr<std::int64_t>()[j]), top_values.data_ptr<float>()[j]});
    }
  }
}

void score_batch(const CausalLM& model, const Batch& batch, std::size_t first, const ScoreOptions& options,
                 std::vector<Scores>& out) {
  Taps taps;
  taps.merge({{}, options.attention_layers});
  const ModelOutput output = model.forward(upload(batch, model.device()), taps);
  std::vector<Prediction> rows;
  const std::size_t count = batch.sequence_starts.size() - 1;
  for (std::size_t s = 0; s < count; ++s)
    for (std::int64_t i = batch.sequence_starts[s]; i + 1 < batch.sequence_starts[s + 1]; ++i)
      rows.push_back({first + s, i, batch.tokens[i + 1]});
  const auto chunk =
      static_cast<std::size_t>(std::max<std::int64_t>(16, kLogitsPerChunk / model.config().vocab_size));
  for (std::size_t begin = 0; begin < rows.size(); begin += chunk)
    score_rows(model, output.hidden, std::span(rows).subspan(begin, std::min(chunk, rows.size() - begin)),
               options, out);
  for (const int layer : options.attention_layers)
    for (std::size_t s = 0; s < count; ++s) {
      const at::Tensor map = output.attention_taps.at(layer)[s].to(at::kCPU, at::kFloat).contiguous();
      out[first + s].attention.emplace_back(map.data_ptr<float>(), map.data_ptr<float>() + map.numel());
    }
}

}  // namespace

std::vector<Scores> score_sequences(const CausalLM& model, std::span<const Sequence> sequences,
                                    const ScoreOptions& options, std::int64_t max_batch_tokens) {
  const at::NoGradGuard no_grad;
  std::vector<Scores> out(sequences.size());
  Batch batch;
  std::size_t first = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const std::vector<TokenId>& tokens = sequences[s].tokens;
    const auto length = static_cast<std::int64_t>(tokens.size());
    if (batch.size() > 0 && batch.size() + length > max_batch_tokens) {
      score_batch(model, batch, first, options, out);
      batch = {};
      first = s;
    }
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    batch.positions.resize(batch.tokens.size());
    std::iota(batch.positions.end() - length, batch.positions.end(), 0);
    batch.sequence_starts.push_back(static_cast<std::int32_t>(batch.tokens.size()));
  }
  if (batch.size() > 0) score_batch(model, batch, first, options, out);
  return out;
}

}  // namespace retort
