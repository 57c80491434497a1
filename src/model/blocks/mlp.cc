#include "model/blocks/mlp.h"

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ActivationFunction : torch::autograd::Function<ActivationFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, ActivationKind kind, bool gated) {
    ctx->save_for_backward({input});
    ctx->saved_data["kind"] = static_cast<std::int64_t>(kind);
    ctx->saved_data["gated"] = gated;
    const std::int64_t rows = input.size(0), width = input.size(1) / (gated ? 2 : 1);
    const at::Tensor output = at::empty({rows, width}, input.options());
    with_element_type(input, [&]<class T>(T) {
      const ActivationArgs<T> args{kind,    gated,  width, input.data_ptr<T>(), output.data_ptr<T>(),
                                   nullptr, nullptr};
      at::parallel_for(0, rows, 8, [&](std::int64_t begin, std::int64_t end) {
        cpu_kernels<T>().activation_forward(args, begin, end);
      });
    });
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor input = ctx->get_saved_variables()[0];
    const at::Tensor grad = grads[0].contiguous(), grad_input = at::empty_like(input);
    const auto kind = static_cast<ActivationKind>(ctx->saved_data["kind"].toInt());
    with_element_type(input, [&]<class T>(T) {
      const ActivationArgs<T> args{kind,
                                   ctx->saved_data["gated"].toBool(),
                                   grad.size(1),
                                   input.data_ptr<T>(),
                                   nullptr,
                                   grad.data_ptr<T>(),
                                   grad_input.data_ptr<T>()};
      at::parallel_for(0, grad.size(0), 8, [&](std::int64_t begin, std::int64_t end) {
        cpu_kernels<T>().activation_backward(args, begin, end);
      });
    });
    return {grad_input, at::Tensor(), at::Tensor()};
  }
};

at::Tensor aten_activate(const at::Tensor& x, ActivationKind kind) {
  switch (kind) {
    case ActivationKind::silu:
      return at::silu(x);
    case ActivationKind::gelu:
      return at::gelu(x);
    case ActivationKind::gelu_tanh:
      return at::gelu(x, "tanh");
    default:
      return at::relu(x);
  }
}

}  // namespace

at::Tensor activate(const at::Tensor& x, ActivationKind kind, bool gated) {
  if (has_cpu_kernels(x)) return ActivationFunction::apply(x, kind, gated);
  if (!gated) return aten_activate(x, kind);
  const auto parts = x.chunk(2, 1);
  return aten_activate(parts[0], kind) * parts[1];
}

at::Tensor Mlp::operator()(const at::Tensor& x, const Dropout& pass) const {
  return down(activate(expand(x, pass), activation, gated), pass);
}

}  // namespace retort
