#include "model/adapters/lora.h"

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Adds into y and keeps x, which the layer keeps anyway, and x Aᵀ: nothing of y's size.
struct LoraFunction : torch::autograd::Function<LoraFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& y, const at::Tensor& x,
                            const at::Tensor& a, const at::Tensor& b, std::int64_t row_begin, double scale,
                            const Dropout& dropout) {
    const at::Tensor inner = at::mm(apply_dropout(x, dropout), a.t());
    y.narrow(1, row_begin, b.size(0)).addmm_(inner, b.t(), 1, scale);
    ctx->mark_dirty({y});
    ctx->save_for_backward({x, a, b, inner});
    ctx->saved_data["row_begin"] = row_begin;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["probability"] = dropout.probability;
    ctx->saved_data["key"] = static_cast<std::int64_t>(dropout.key);
    ctx->saved_data["stream"] = static_cast<std::int64_t>(dropout.stream);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &a = saved[1], &b = saved[2], &inner = saved[3];
    const double scale = ctx->saved_data["scale"].toDouble();
    const Dropout dropout{ctx->saved_data["probability"].toDouble(),
                          static_cast<std::uint64_t>(ctx->saved_data["key"].toInt()),
                          static_cast<std::uint32_t>(ctx->saved_data["stream"].toInt())};
    const at::Tensor mine = grads[0].narrow(1, ctx->saved_data["row_begin"].toInt(), b.size(0));
    const at::Tensor grad_inner = at::mm(mine, b).mul_(scale);
    variable_list result(7);
    result[0] = grads[0];
    if (ctx->needs_input_grad(1)) result[1] = apply_dropout(at::mm(grad_inner, a), dropout);
    if (ctx->needs_input_grad(2)) result[2] = at::mm(grad_inner.t(), apply_dropout(x, dropout));
    if (ctx->needs_input_grad(3)) result[3] = at::mm(mine.t(), inner).mul_(scale);
    return result;
  }
};

}  // namespace

at::Tensor dora_norm(const LoraWeights& lora, const at::Tensor& base) {
  const at::NoGradGuard no_grad;
  at::Tensor sum = base.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  sum.addmm_(lora.b.to(at::kFloat), lora.a.to(at::kFloat), 1, lora.scale);
  return at::linalg_vector_norm(sum, 2, at::IntArrayRef{1});
}

at::Tensor lora_delta(const LoraWeights& lora, const at::Tensor& base) {
  const at::NoGradGuard no_grad;
  at::Tensor delta = at::mm(lora.b.to(at::kFloat), lora.a.to(at::kFloat)).mul_(lora.scale);
  if (lora.magnitude.defined()) {
    const at::Tensor wide = base.to(at::kFloat);
    delta = (lora.magnitude.to(at::kFloat) / dora_norm(lora, base)).unsqueeze(1) * (wide + delta) - wide;
  }
  return delta.mul_(lora.weight);
}

at::Tensor Lora::apply(const at::Tensor& x, const at::Tensor& y, const Linear& base,
                       const Dropout& pass) const {
  const Dropout dropout{pass.training ? dropout_ : 0, pass.key, number_};
  const auto& [a, b, magnitude, scale, weight] = weights_;
  if (!magnitude.defined()) {
    if (at::GradMode::is_enabled() && (x.requires_grad() || y.requires_grad() || a.requires_grad()))
      return LoraFunction::apply(y, x, a, b, row_begin_, scale * weight, dropout);
    y.narrow(1, row_begin_, rows())
        .addmm_(at::mm(apply_dropout(x, dropout), a.t()), b.t(), 1, scale * weight);
    return y;
  }
  const at::Tensor frozen = base.rows(row_begin_, rows()), bias = base.bias_rows(row_begin_, rows());
  const at::Tensor mine = y.narrow(1, row_begin_, rows()), input = apply_dropout(x, dropout);
  // What is scaled anew is the layer's product without its bias, of the input that LoRA sees.
  const at::Tensor product = dropout.on() ? at::linear(input, frozen) : bias.defined() ? mine - bias : mine;
  const at::Tensor length = magnitude / dora_norm(weights_, frozen).to(magnitude.scalar_type());
  const at::Tensor low_rank = at::linear(at::linear(input, a), b);
  const at::Tensor added = (length - 1) * product + (length * scale) * low_rank;
  const at::Tensor adapted = mine + (weight == 1 ? added : added * weight);
  const std::int64_t end = row_begin_ + rows();
  return at::cat({y.narrow(1, 0, row_begin_), adapted, y.narrow(1, end, y.size(1) - end)}, 1);
}

void Lora::append_leaves(std::vector<at::Tensor>& leaves) const {
  leaves.push_back(weights_.a);
  leaves.push_back(weights_.b);
  if (weights_.magnitude.defined()) leaves.push_back(weights_.magnitude);
}

}  // namespace retort
