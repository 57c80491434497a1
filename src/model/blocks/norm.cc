#include "model/blocks/norm.h"

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::int64_t chunks_of(std::int64_t rows) { return (rows + kNormChunk - 1) / kNormChunk; }

at::Tensor floats(at::IntArrayRef shape, const at::Tensor& like) {
  return at::empty(shape, like.options().dtype(at::kFloat));
}

struct NormState {
  at::Tensor sum, normed, mean, rstd;
};

NormState cpu_forward(const at::Tensor& residual, const at::Tensor& branch, const Norm& norm,
                      const Dropout& dropout) {
  const std::int64_t rows = residual.size(0), width = residual.size(1);
  NormState state{branch.defined() ? at::empty_like(residual) : residual, at::empty_like(residual),
                  norm.center() ? floats({rows}, residual) : at::Tensor(), floats({rows}, residual)};
  with_element_type(residual, [&]<class T>(T) {
    const NormForward<T> args{.residual = residual.data_ptr<T>(),
                              .branch = data_or_null<T>(branch),
                              .weight = norm.weight.data_ptr<T>(),
                              .bias = data_or_null<T>(norm.bias),
                              .center = norm.center(),
                              .eps = static_cast<float>(norm.eps),
                              .width = width,
                              .sum = state.sum.data_ptr<T>(),
                              .normed = state.normed.data_ptr<T>(),
                              .mean = data_or_null<float>(state.mean),
                              .rstd = state.rstd.data_ptr<float>(),
                              .dropout = cpu_mask(dropout)};
    parallel_rows(rows, 16, dropout_scratch(width),
                  [&](std::int64_t begin, std::int64_t end, float* scratch) {
                    cpu_kernels<T>().norm_forward(args, begin, end, scratch);
                  });
  });
  return state;
}

// Inputs: residual, branch, weight, bias. Outputs: sum (only with a branch), normed.
struct AddNormFunction : torch::autograd::Function<AddNormFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& branch, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias, double eps, const Dropout& dropout) {
    NormState state = cpu_forward(residual, tensor_of(branch), {weight, tensor_of(bias), eps}, dropout);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({state.sum, weight, state.mean, state.rstd});
    ctx->saved_data["branch"] = branch.has_value();
    ctx->saved_data["center"] = bias.has_value();
    ctx->saved_data["probability"] = dropout.probability;
    ctx->saved_data["key"] = static_cast<std::int64_t>(dropout.key);
    ctx->saved_data["stream"] = static_cast<std::int64_t>(dropout.stream);
    if (branch) return {state.sum, state.normed};
    return {state.normed};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &sum = saved[0], &weight = saved[1], &mean = saved[2], &rstd = saved[3];
    const bool has_branch = ctx->saved_data["branch"].toBool(), center = ctx->saved_data["center"].toBool();
    const Dropout dropout{ctx->saved_data["probability"].toDouble(),
                          static_cast<std::uint64_t>(ctx->saved_data["key"].toInt()),
                          static_cast<std::uint32_t>(ctx->saved_data["stream"].toInt())};
    const std::int64_t rows = sum.size(0), width = sum.size(1), chunks = chunks_of(rows);
    const at::Tensor grad_sum = has_branch && grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    const at::Tensor& last = grads.back();
    const at::Tensor grad_normed = last.defined() ? last.contiguous() : at::zeros_like(sum);
    const at::Tensor grad_residual = at::empty_like(sum);
    const at::Tensor grad_branch = has_branch && dropout.on() ? at::empty_like(sum) : at::Tensor();
    const at::Tensor grad_weight = at::zeros({chunks, width}, sum.options().dtype(at::kFloat));
    const at::Tensor grad_bias = center ? at::zeros_like(grad_weight) : at::Tensor();
    with_element_type(sum, [&]<class T>(T) {
      const NormBackward<T> args{.grad_sum = data_or_null<T>(grad_sum),
                                 .grad_normed = grad_normed.data_ptr<T>(),
                                 .sum = sum.data_ptr<T>(),
                                 .weight = weight.data_ptr<T>(),
                                 .mean = data_or_null<float>(mean),
                                 .rstd = rstd.data_ptr<float>(),
                                 .center = center,
                                 .rows = rows,
                                 .width = width,
                                 .grad_residual = grad_residual.data_ptr<T>(),
                                 .grad_branch = data_or_null<T>(grad_branch),
                                 .grad_weight = grad_weight.data_ptr<float>(),
                                 .grad_bias = data_or_null<float>(grad_bias),
                                 .dropout = cpu_mask(dropout)};
      parallel_rows(chunks, 1, dropout_scratch(width),
                    [&](std::int64_t begin, std::int64_t end, float* scratch) {
                      cpu_kernels<T>().norm_backward(args, begin, end, scratch);
                    });
    });
    const auto dtype = sum.scalar_type();
    return {grad_residual,
            has_branch ? (grad_branch.defined() ? grad_branch : grad_residual) : at::Tensor(),
            grad_weight.sum(0).to(dtype),
            center ? grad_bias.sum(0).to(dtype) : at::Tensor(),
            at::Tensor(),
            at::Tensor()};
  }
};

// x [n, width] with weight and bias [width], through ATen.
at::Tensor aten_norm(const at::Tensor& x, const Norm& norm) {
  const std::int64_t width = x.size(-1);
  if (norm.center()) return at::layer_norm(x, {width}, norm.weight, norm.bias, norm.eps);
  return at::rms_norm(x, {width}, norm.weight, norm.eps);
}

bool records(const at::Tensor& x, const at::Tensor& weight) {
  return at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
}

template <class T>
HeadNorm<T> head_norm_args(const at::Tensor& input, const at::Tensor& q_weight, const at::Tensor& k_weight,
                           const HeadLayout& layout, double eps) {
  return {.input = input.data_ptr<T>(),
          .q_weight = q_weight.data_ptr<T>(),
          .k_weight = k_weight.data_ptr<T>(),
          .eps = static_cast<float>(eps),
          .rows = input.size(0),
          .q_heads = layout.q_heads,
          .kv_heads = layout.kv_heads,
          .head_dim = layout.head_dim,
          .output = nullptr,
          .grad_output = nullptr,
          .grad_input = nullptr,
          .grad_weight = nullptr};
}

struct HeadNormFunction : torch::autograd::Function<HeadNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& q_weight,
                            const at::Tensor& k_weight, const HeadLayout& layout, double eps) {
    ctx->save_for_backward({input, q_weight, k_weight});
    ctx->saved_data["layout"] = std::vector<std::int64_t>{layout.q_heads, layout.kv_heads, layout.head_dim};
    ctx->saved_data["eps"] = eps;
    const at::Tensor output = at::empty_like(input);
    with_element_type(input, [&]<class T>(T) {
      auto args = head_norm_args<T>(input, q_weight, k_weight, layout, eps);
      args.output = output.data_ptr<T>();
      at::parallel_for(0, args.rows, 16, [&](std::int64_t begin, std::int64_t end) {
        cpu_kernels<T>().head_norm_forward(args, begin, end);
      });
    });
    return output;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto numbers = ctx->saved_data["layout"].toIntVector();
    const HeadLayout layout{numbers[0], numbers[1], numbers[2]};
    const at::Tensor grad_output = grads[0].contiguous(), grad_input = at::empty_like(saved[0]);
    const std::int64_t chunks = chunks_of(saved[0].size(0));
    const at::Tensor grad_weight =
        at::zeros({chunks, 2, layout.head_dim}, saved[0].options().dtype(at::kFloat));
    with_element_type(saved[0], [&]<class T>(T) {
      auto args = head_norm_args<T>(saved[0], saved[1], saved[2], layout, ctx->saved_data["eps"].toDouble());
      args.grad_output = grad_output.data_ptr<T>();
      args.grad_input = grad_input.data_ptr<T>();
      args.grad_weight = grad_weight.data_ptr<float>();
      at::parallel_for(0, chunks, 1, [&](std::int64_t begin, std::int64_t end) {
        cpu_kernels<T>().head_norm_backward(args, begin, end);
      });
    });
    const at::Tensor total = grad_weight.sum(0).to(saved[0].scalar_type());
    return {grad_input, total[0], total[1], at::Tensor(), at::Tensor()};
  }
};

}  // namespace

void Norm::append_leaves(std::vector<at::Tensor>& leaves) const {
  leaves.push_back(weight);
  if (bias.defined()) leaves.push_back(bias);
}

Residual add_norm(const at::Tensor& residual, const at::Tensor& branch, const Norm& norm,
                  const Dropout& dropout) {
  if (!has_cpu_kernels(residual)) {
    const at::Tensor sum = branch.defined() ? residual + apply_dropout(branch, dropout) : residual;
    return {sum, aten_norm(sum, norm)};
  }
  if (!records(residual, norm.weight) && !(branch.defined() && records(branch, norm.weight))) {
    NormState state = cpu_forward(residual, branch, norm, dropout);
    return {state.sum, state.normed};
  }
  variable_list out = AddNormFunction::apply(residual, optional_of(branch), norm.weight,
                                             optional_of(norm.bias), norm.eps, dropout);
  return branch.defined() ? Residual{out[0], out[1]} : Residual{residual, out[0]};
}

at::Tensor head_norm(const at::Tensor& qkv, const HeadLayout& layout, const Norm& q_norm,
                     const Norm& k_norm) {
  if (has_cpu_kernels(qkv))
    return HeadNormFunction::apply(qkv, q_norm.weight, k_norm.weight, layout, q_norm.eps);
  const std::int64_t n = qkv.size(0);
  const at::Tensor heads = qkv.view({n, layout.q_heads + 2 * layout.kv_heads, layout.head_dim});
  const at::Tensor q = aten_norm(heads.narrow(1, 0, layout.q_heads), q_norm);
  const at::Tensor k = aten_norm(heads.narrow(1, layout.q_heads, layout.kv_heads), k_norm);
  const at::Tensor v = heads.narrow(1, layout.q_heads + layout.kv_heads, layout.kv_heads);
  return at::cat({q, k, v}, 1).view({n, -1});
}

}  // namespace retort
