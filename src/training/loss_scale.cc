#include "training/loss_scale.h"

namespace retort {
namespace {

constexpr double kInitialScale = 65536;
constexpr double kGrowth = 2, kBackoff = 0.5;
constexpr int kGrowthInterval = 2000;

}  // namespace

LossScale::LossScale(bool on, at::Device device)
    : on_(on),
      scale_(at::full({}, on ? kInitialScale : 1.0, at::TensorOptions(device).dtype(at::kFloat))),
      clean_steps_(at::zeros_like(scale_)) {}

void LossScale::update(const at::Tensor& found_inf) {
  if (!on_) return;
  const at::NoGradGuard no_grad;
  const at::Tensor bad = found_inf > 0;
  clean_steps_ = at::where(bad, at::zeros_like(clean_steps_), clean_steps_ + 1);
  const at::Tensor grow = clean_steps_ >= kGrowthInterval;
  scale_ =
      at::where(bad, scale_ * kBackoff, at::where(grow, scale_ * kGrowth, scale_)).clamp(1.0, 16777216.0);
  clean_steps_ = at::where(grow, at::zeros_like(clean_steps_), clean_steps_);
}

at::Tensor LossScale::state() const { return at::stack({scale_, clean_steps_}); }

void LossScale::restore(const at::Tensor& state) {
  const at::Tensor here = state.to(scale_.device());
  scale_ = here[0].clone();
  clean_steps_ = here[1].clone();
}

}  // namespace retort
