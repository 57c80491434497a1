// Rotary positions (Su et al. 2021) in Hugging Face's layout: the two halves of a head are the two
// coordinates.
#pragma once

#include <torch/torch.h>

#include "architecture/model_config.h"
#include "model/blocks/norm.h"

namespace retort {

struct Rotation {
  at::Tensor cos, sin;  // fp32 [n, head_dim / 2]; undefined in a model without rotary positions
  bool on() const { return cos.defined(); }
};

// `frequencies` fp32 [head_dim / 2], `positions` int64 [n].
Rotation rotation_at(const at::Tensor& frequencies, const at::Tensor& positions);

// Rotates q and k of rows [q | k | v] in place, outside the graph; `inverse` undoes it.
void rotate_in_place(const at::Tensor& qkv, const HeadLayout& layout, const Rotation& rotation,
                     bool inverse = false);
// A differentiable copy.
at::Tensor rotate(const at::Tensor& qkv, const HeadLayout& layout, const Rotation& rotation);

}  // namespace retort
