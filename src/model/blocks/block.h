// One transformer block: norm, attention, norm, MLP, each added to the residual stream. A branch is added
// where the next norm reads it, in one pass, so a block takes and gives a pair (residual, pending branch).
#pragma once

#include "model/blocks/attention.h"
#include "model/blocks/mlp.h"

namespace retort {

struct Stream {
  at::Tensor residual;
  at::Tensor branch;  // not yet added; undefined before the first block
};

struct Block {
  Norm input_norm, post_norm;
  Attention attention;
  Mlp mlp;

  // `dropout` is the micro-batch's; branches number themselves by layer. `sum` receives the block's input
  // once the branch is added: the output of the block before. `rows` (int64, undefined: all): what is left of
  // the stream after attention, for a last block whose other outputs nobody reads.
  Stream operator()(const Stream& in, const AttentionPath& path, const Dropout& dropout, at::Tensor& sum,
                    const at::Tensor& rows = {}) const;
  std::vector<at::Tensor> leaves() const;
};

// The same values and, bit for bit, the same gradients, but only the block's inputs are kept: the backward
// pass runs it again.
Stream run_checkpointed(const Block& block, const Stream& in, std::shared_ptr<const AttentionPath> path,
                        const Dropout& dropout, at::Tensor& sum, const at::Tensor& rows = {});

}  // namespace retort
