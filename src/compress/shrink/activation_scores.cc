#include <memory>

#include "compress/shrink/scores.h"
#include "model/transformer.h"

namespace retort {
namespace {

// √Σ over sequences of (mean of a over the sequence's tokens)², for non-negative a [N, units].
class SequenceNorm {
 public:
  void add(const at::Tensor& activations, const DeviceBatch& batch) {
    const at::Tensor sequences = at::diff(batch.cu_seqlens).to(at::kLong);
    const at::Tensor sequence = at::repeat_interleave(sequences);  // of each row
    const at::Tensor sums =
        at::zeros({sequences.size(0), activations.size(1)}, activations.options().dtype(at::kFloat))
            .index_add_(0, sequence, activations.to(at::kFloat));
    const at::Tensor squares = (sums / sequences.unsqueeze(1)).to(at::kCPU, at::kDouble).square().sum(0);
    total_ = total_.defined() ? total_ + squares : squares;
  }
  std::vector<double> scores() const {
    const at::Tensor norms = total_.sqrt().contiguous();
    return {norms.data_ptr<double>(), norms.data_ptr<double>() + norms.numel()};
  }

 private:
  at::Tensor total_;  // fp64 [units]
};

// Scores what a linear layer reads, and leaves its output as it is.
class Listener : public LinearAdapter {
 public:
  // `unit`: columns of the input that make up one unit, whose activation is their L2 norm.
  Listener(const DeviceBatch*& batch, std::int64_t unit) : batch_(batch), unit_(unit) {}
  at::Tensor apply(const at::Tensor& x, const at::Tensor& y, const Linear&, const Dropout&) const override {
    const at::Tensor values = x.to(at::kFloat);
    norm_.add(unit_ == 1 ? values.abs() : values.view({x.size(0), -1, unit_}).norm(2, /*dim=*/{2}), *batch_);
    return y;
  }
  void append_leaves(std::vector<at::Tensor>&) const override {}
  bool stacks() const override { return true; }
  std::int64_t row_begin() const override { return 0; }
  std::int64_t rows() const override { return 0; }
  std::vector<double> scores() const { return norm_.scores(); }

 private:
  const DeviceBatch*& batch_;
  std::int64_t unit_;
  mutable SequenceNorm norm_;
};

void add_to(std::vector<double>& sum, const std::vector<double>& more) {
  sum.resize(more.size());
  for (std::size_t i = 0; i < more.size(); ++i) sum[i] += more[i];
}

}  // namespace

UnitScores score_by_activations(CausalLM& model, const Calibration& calibration) {
  const at::NoGradGuard no_grad;
  const DeviceBatch* batch = nullptr;
  const auto listen = [&batch](Linear& linear, std::int64_t unit, const char* name) {
    auto listener = std::make_shared<const Listener>(batch, unit);
    linear.adapt(listener, name);
    return listener;
  };
  struct Ears {
    std::shared_ptr<const Listener> stream_before, heads, stream_between, ffn;
  };
  std::vector<Block>& blocks = model.parts().blocks;
  const std::vector<Block> untouched = blocks;
  std::vector<Ears> ears;
  Taps taps{.hidden = {-1}, .attention = {}};
  for (Block& block : blocks) {
    taps.hidden.push_back(static_cast<int>(ears.size()));
    ears.push_back({listen(block.attention.qkv, 1, "qkv"),
                    listen(block.attention.output, model.config().head_dim, "o_proj"),
                    listen(block.mlp.expand, 1, "expand"), listen(block.mlp.down, 1, "down_proj")});
  }
  SequenceNorm last;
  std::vector<double> unlike(blocks.size());
  std::int64_t tokens = 0;
  for (const Batch& next : calibration.batches) {
    const DeviceBatch here = upload(next, model.device());
    batch = &here;
    const ModelOutput output = model.forward(here, taps);
    last.add(output.hidden.abs(), here);
    tokens += next.size();
    for (std::size_t i = 0; i < unlike.size(); ++i)
      unlike[i] += (1 - at::cosine_similarity(output.hidden_taps.at(static_cast<int>(i) - 1).to(at::kFloat),
                                              output.hidden_taps.at(static_cast<int>(i)).to(at::kFloat)))
                       .sum()
                       .item<double>();
  }
  UnitScores scores;
  scores.hidden = last.scores();
  for (std::size_t i = 0; i < ears.size(); ++i) {
    scores.layers.push_back({.query_heads = ears[i].heads->scores(),
                             .ffn = ears[i].ffn->scores(),
                             .influence = unlike[i] / static_cast<double>(tokens)});
    add_to(scores.hidden, ears[i].stream_before->scores());
    add_to(scores.hidden, ears[i].stream_between->scores());
  }
  blocks = untouched;
  return scores;
}

}  // namespace retort
