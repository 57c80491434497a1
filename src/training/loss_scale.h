// Dynamic loss scaling for fp16 (Micikevicius et al. 2018): the loss is multiplied before backward() so that
// small gradients survive; the scale halves when one overflows and doubles after 2,000 clean steps. Lives on
// the device: nothing waits for it.
#pragma once

#include <torch/torch.h>

namespace retort {

class LossScale {
 public:
  // Off: the scale is 1 for good.
  LossScale(bool on, at::Device device);

  const at::Tensor& scale() const { return scale_; }  // 0-dim fp32
  void update(const at::Tensor& found_inf);
  bool on() const { return on_; }

  at::Tensor state() const;  // [2]: scale, clean steps
  void restore(const at::Tensor& state);

 private:
  bool on_;
  at::Tensor scale_, clean_steps_;
};

}  // namespace retort
