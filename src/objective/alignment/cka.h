// Linear centered kernel alignment (Kornblith et al. 2019): how alike two sets of hidden states are, whatever
// their widths, up to rotation and scale. 1: alike; 0: unrelated.
#pragma once

#include <span>
#include <vector>

#include "data/batch_source.h"
#include "model/causal_lm.h"
#include "objective/alignment/layer_map.h"

namespace retort {

// 1 - CKA of rows x [n, H], y [n, G] (any float type; computed in fp32 or more) with weights [n] or
// undefined: 0-dim, differentiable. Rows of weight 0 count for nothing. 0 where either side does not vary at
// all.
at::Tensor cka_distance(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weights = {});

// The first positions with a loss: at others, the first token above all, hidden states are dominated by a few
// huge channels, and everything looks alike.
struct CkaSample {
  std::span<const Batch> batches;
  std::int64_t positions = 1024;
};

struct CkaTable {
  // fp64 [student's layers + 1, teacher's layers + 1] on the CPU; row and column 0: embeddings.
  at::Tensor values;
  std::int64_t positions = 0;  // that were compared
};

// Between all layers of two models that share a tokenizer.
CkaTable compare_layers(const CausalLM& student, const CausalLM& teacher, const CkaSample& sample);
// Between the layers of each pair.
std::vector<double> compare_pairs(const CausalLM& student, const CausalLM& teacher,
                                  const std::vector<LayerPair>& pairs, const CkaSample& sample);

// Batches of training data with at least `targets` positions that have a loss, if there are as many; the same
// whenever it is asked.
std::vector<Batch> sample_batches(const ExampleStore& store, std::int64_t batch_tokens, std::int64_t targets);

}  // namespace retort
