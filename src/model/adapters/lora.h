// LoRA (Hu et al. 2021): y + scale · B A x beside a frozen layer; rsLoRA is another scale. DoRA (Liu et al.
// 2024): the sum's rows are given trained lengths.
#pragma once

#include "model/blocks/linear.h"

namespace retort {

struct LoraWeights {
  at::Tensor a, b;       // leaves [rank, in], [out, rank]
  at::Tensor magnitude;  // leaf [out] of DoRA; undefined otherwise
  double scale = 1;      // alpha / rank, or alpha / √rank
  double weight = 1;     // of this adapter among several: multiplies what it adds
};

// ΔW [out, in] in fp32, so that W + ΔW does what layer and adapter do. `base` [out, in].
at::Tensor lora_delta(const LoraWeights& lora, const at::Tensor& base);
// Row lengths of W + scale · B A, fp32 [out], a constant to the gradient as in the paper (section 4.3).
at::Tensor dora_norm(const LoraWeights& lora, const at::Tensor& base);

class Lora : public LinearAdapter {
 public:
  // Adapts outputs [row_begin, row_begin + out) of a group of projections. `number` keeps dropout masks of a
  // model's adapters apart.
  Lora(LoraWeights weights, std::int64_t row_begin, double dropout, std::uint32_t number)
      : weights_(std::move(weights)), row_begin_(row_begin), dropout_(dropout), number_(number) {}

  at::Tensor apply(const at::Tensor& x, const at::Tensor& y, const Linear& base,
                   const Dropout& pass) const override;
  void append_leaves(std::vector<at::Tensor>& leaves) const override;
  bool stacks() const override { return !weights_.magnitude.defined(); }
  std::int64_t row_begin() const override { return row_begin_; }
  std::int64_t rows() const override { return weights_.b.size(0); }

 private:
  LoraWeights weights_;
  std::int64_t row_begin_;
  double dropout_;
  std::uint32_t number_;
};

}  // namespace retort
