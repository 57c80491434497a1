#include "model/blocks/attention.h"

#include <ATen/ops/_flash_attention_forward.h>

#include <cmath>

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

double scale_of(const HeadLayout& heads) { return 1 / std::sqrt(static_cast<double>(heads.head_dim)); }

template <class T>
AttentionArgs<T> attention_args(const at::Tensor& qkv, const at::Tensor& lse, const AttentionLayer& layer,
                                const std::vector<std::int64_t>& starts, std::int64_t max_length) {
  return {.qkv = qkv.data_ptr<T>(),
          .q_heads = layer.heads.q_heads,
          .kv_heads = layer.heads.kv_heads,
          .head_dim = layer.heads.head_dim,
          .starts = starts.data(),
          .sequences = static_cast<std::int64_t>(starts.size()) - 1,
          .max_length = max_length,
          .window = layer.window,
          .scale = static_cast<float>(scale_of(layer.heads)),
          .output = nullptr,
          .lse = data_or_null<float>(lse),
          .rows = qkv.size(0),
          .grad_output = nullptr,
          .grad_qkv = nullptr};
}

// `qkv` is rotated already. `lse` undefined: not kept.
at::Tensor cpu_attention(const at::Tensor& qkv, const at::Tensor& lse, const AttentionLayer& layer,
                         const Packing& packing) {
  const at::Tensor output =
      at::empty({qkv.size(0), layer.heads.q_heads * layer.heads.head_dim}, qkv.options());
  with_element_type(qkv, [&]<class T>(T) {
    auto args = attention_args<T>(qkv, lse, layer, packing.starts, packing.max_length);
    args.output = output.data_ptr<T>();
    parallel_rows(args.kv_heads * args.sequences, 1,
                  cpu_kernels<T>().attention_forward_scratch(packing.max_length, args.head_dim),
                  [&](std::int64_t begin, std::int64_t end, float* scratch) {
                    cpu_kernels<T>().attention_forward(args, begin, end, scratch);
                  });
  });
  return output;
}

// Rotation and attention in one node: qkv is rotated in place (its producer keeps no copy of it), and its
// gradient back.
struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv, const AttentionLayer& layer,
                            const Packing& packing, const Rotation& rotation) {
    if (rotation.on()) rotate_in_place(qkv, layer.heads, rotation);
    const at::Tensor lse = at::empty({layer.heads.q_heads, qkv.size(0)}, qkv.options().dtype(at::kFloat));
    ctx->save_for_backward({qkv, lse, rotation.cos, rotation.sin});
    ctx->saved_data["starts"] = packing.starts;
    ctx->saved_data["numbers"] = std::vector<std::int64_t>{
        layer.heads.q_heads, layer.heads.kv_heads, layer.heads.head_dim, layer.window, packing.max_length};
    return cpu_attention(qkv, lse, layer, packing);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &qkv = saved[0], &lse = saved[1];
    const auto starts = ctx->saved_data["starts"].toIntVector(),
               numbers = ctx->saved_data["numbers"].toIntVector();
    const AttentionLayer layer{0, {numbers[0], numbers[1], numbers[2]}, numbers[3]};
    const at::Tensor grad_output = grads[0].contiguous(), grad_qkv = at::empty_like(qkv);
    with_element_type(qkv, [&]<class T>(T) {
      auto args = attention_args<T>(qkv, lse, layer, starts, numbers[4]);
      args.grad_output = grad_output.data_ptr<T>();
      args.grad_qkv = grad_qkv.data_ptr<T>();
      parallel_rows(args.kv_heads * args.sequences, 1,
                    cpu_kernels<T>().attention_backward_scratch(numbers[4], args.head_dim),
                    [&](std::int64_t begin, std::int64_t end, float* scratch) {
                      cpu_kernels<T>().attention_backward(args, begin, end, scratch);
                    });
    });
    if (saved[2].defined()) rotate_in_place(grad_qkv, layer.heads, {saved[2], saved[3]}, /*inverse=*/true);
    return {grad_qkv, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// A rotated copy, one buffer each way.
struct RotateFunction : torch::autograd::Function<RotateFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv, const HeadLayout& heads,
                            const Rotation& rotation) {
    ctx->save_for_backward({rotation.cos, rotation.sin});
    ctx->saved_data["heads"] = std::vector<std::int64_t>{heads.q_heads, heads.kv_heads, heads.head_dim};
    const at::Tensor out = qkv.clone();
    rotate_in_place(out, heads, rotation);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto heads = ctx->saved_data["heads"].toIntVector();
    const at::Tensor grad = grads[0].clone(at::MemoryFormat::Contiguous);
    rotate_in_place(grad, {heads[0], heads[1], heads[2]}, {saved[0], saved[1]}, /*inverse=*/true);
    return {grad, at::Tensor(), at::Tensor()};
  }
};

struct Heads {
  at::Tensor q, k, v;  // [heads, n, head_dim]; k and v repeated to q's heads
};

Heads heads_of_sequence(const at::Tensor& qkv, const HeadLayout& layout, std::int64_t start,
                        std::int64_t end) {
  const at::Tensor rows = qkv.narrow(0, start, end - start)
                              .view({end - start, layout.q_heads + 2 * layout.kv_heads, layout.head_dim});
  const std::int64_t group = layout.q_heads / layout.kv_heads;
  const auto part = [&](std::int64_t first, std::int64_t heads) {
    return rows.narrow(1, first, heads).transpose(0, 1);
  };
  Heads result{part(0, layout.q_heads), part(layout.q_heads, layout.kv_heads),
               part(layout.q_heads + layout.kv_heads, layout.kv_heads)};
  if (group > 1) {
    result.k = result.k.repeat_interleave(group, 0);
    result.v = result.v.repeat_interleave(group, 0);
  }
  return result;
}

// true where query i may see key j, [n, n].
at::Tensor visible(std::int64_t n, std::int64_t window, at::Device device) {
  at::Tensor mask = at::ones({n, n}, at::TensorOptions(at::kBool).device(device)).tril_();
  if (window > 0 && window < n) mask = mask.triu_(1 - window);
  return mask;
}

at::Tensor loop_attention(const at::Tensor& qkv, const AttentionLayer& layer, const Packing& packing) {
  std::vector<at::Tensor> outputs;
  for (std::size_t s = 0; s + 1 < packing.starts.size(); ++s) {
    const std::int64_t n = packing.starts[s + 1] - packing.starts[s];
    const Heads heads = heads_of_sequence(qkv, layer.heads, packing.starts[s], packing.starts[s + 1]);
    const bool windowed = layer.window > 0 && layer.window < n;
    const std::optional<at::Tensor> mask =
        windowed ? std::optional(visible(n, layer.window, qkv.device())) : std::nullopt;
    outputs.push_back(at::scaled_dot_product_attention(heads.q.unsqueeze(0), heads.k.unsqueeze(0),
                                                       heads.v.unsqueeze(0), mask, 0.0, !windowed)
                          .squeeze(0)
                          .transpose(0, 1)
                          .reshape({n, -1}));
  }
  return at::cat(outputs);
}

at::Tensor cuda_flash_attention(const at::Tensor& qkv, const AttentionLayer& layer, const Packing& packing) {
  const HeadLayout& h = layer.heads;
  const at::Tensor rows = qkv.view({qkv.size(0), h.q_heads + 2 * h.kv_heads, h.head_dim});
  const std::optional<std::int64_t> left =
      layer.window > 0 ? std::optional<std::int64_t>(layer.window - 1) : std::nullopt;
  const std::optional<std::int64_t> right = layer.window > 0 ? std::optional<std::int64_t>(0) : std::nullopt;
  // Arguments only up to the window sizes: what follows differs between versions.
  return std::get<0>(at::_flash_attention_forward(
                         rows.narrow(1, 0, h.q_heads), rows.narrow(1, h.q_heads, h.kv_heads),
                         rows.narrow(1, h.q_heads + h.kv_heads, h.kv_heads), packing.cu_seqlens,
                         packing.cu_seqlens, packing.max_length, packing.max_length, 0.0, /*is_causal=*/true,
                         /*return_debug_mask=*/false, std::optional<double>(scale_of(h)), left, right))
      .reshape({qkv.size(0), -1});
}

}  // namespace

at::Tensor PackedAttention::attend(const at::Tensor& qkv, const AttentionLayer& layer) const {
  if (has_cpu_kernels(qkv)) {
    if (at::GradMode::is_enabled() && qkv.requires_grad())
      return AttentionFunction::apply(qkv, layer, packing_, rotation_);
    if (rotation_.on()) rotate_in_place(qkv, layer.heads, rotation_);
    return cpu_attention(qkv, {}, layer, packing_);
  }
  const at::Tensor rotated = rotation_.on() ? rotate(qkv, layer.heads, rotation_) : qkv;
  const bool flash = qkv.is_cuda() && qkv.scalar_type() != at::kFloat && layer.heads.head_dim % 8 == 0 &&
                     layer.heads.head_dim <= 256;
  return flash ? cuda_flash_attention(rotated, layer, packing_) : loop_attention(rotated, layer, packing_);
}

PrefixRows::PrefixRows(const std::vector<at::Tensor>& prefix, const Packing& packing,
                       const Rotation& rotation)
    : prefix_(prefix), starts_(packing.starts) {
  const std::int64_t length = prefix.front().size(0);
  packing_.max_length = packing.max_length + length;
  for (std::size_t s = 0; s < starts_.size(); ++s)
    packing_.starts.push_back(starts_[s] + static_cast<std::int64_t>(s) * length);
  packing_.cu_seqlens = at::tensor(packing_.starts, at::kInt).to(packing.cu_seqlens.device());
  if (!rotation.on()) return;
  std::vector<at::Tensor> cos, sin;
  for (std::size_t s = 0; s + 1 < starts_.size(); ++s) {
    const std::int64_t n = starts_[s + 1] - starts_[s];
    cos.push_back(at::ones({length, rotation.cos.size(1)}, rotation.cos.options()));
    sin.push_back(at::zeros_like(cos.back()));
    cos.push_back(rotation.cos.narrow(0, starts_[s], n));
    sin.push_back(rotation.sin.narrow(0, starts_[s], n));
  }
  rotation_ = {at::cat(cos), at::cat(sin)};
}

at::Tensor PrefixRows::extend(const at::Tensor& qkv, const AttentionLayer& layer) const {
  const at::Tensor& own = prefix_[static_cast<std::size_t>(layer.index)];
  // Queries of the prefix's rows are answered and thrown away.
  const at::Tensor block =
      at::cat({at::zeros({own.size(0), layer.heads.q_heads * layer.heads.head_dim}, own.options()), own}, 1);
  std::vector<at::Tensor> rows;
  for (std::size_t s = 0; s + 1 < starts_.size(); ++s) {
    rows.push_back(block);
    rows.push_back(qkv.narrow(0, starts_[s], starts_[s + 1] - starts_[s]));
  }
  return at::cat(rows);
}

at::Tensor PrefixRows::drop(const at::Tensor& rows) const {
  const std::int64_t length = prefix_.front().size(0);
  std::vector<at::Tensor> kept;
  for (std::size_t s = 0; s + 1 < starts_.size(); ++s)
    kept.push_back(rows.narrow(0, packing_.starts[s] + length, starts_[s + 1] - starts_[s]));
  return at::cat(kept);
}

at::Tensor OpenAttention::attend(const at::Tensor& qkv, const AttentionLayer& layer) const {
  const at::Tensor rotated = rotation_.on() ? rotate(qkv, layer.heads, rotation_) : qkv;
  std::vector<at::Tensor> outputs;
  maps_.clear();
  for (std::size_t s = 0; s + 1 < packing_.starts.size(); ++s) {
    const std::int64_t n = packing_.starts[s + 1] - packing_.starts[s];
    const Heads heads = heads_of_sequence(rotated, layer.heads, packing_.starts[s], packing_.starts[s + 1]);
    const at::Tensor scores =
        at::matmul(heads.q, heads.k.transpose(1, 2)).to(at::kFloat) * scale_of(layer.heads);
    const at::Tensor hidden = visible(n, layer.window, qkv.device()).logical_not_();
    maps_.push_back(at::softmax(scores.masked_fill(hidden, -std::numeric_limits<float>::infinity()), -1));
    outputs.push_back(
        at::matmul(maps_.back().to(qkv.scalar_type()), heads.v).transpose(0, 1).reshape({n, -1}));
  }
  return at::cat(outputs);
}

at::Tensor KeepingAttention::attend(const at::Tensor& qkv, const AttentionLayer& layer) const {
  rows_ = rotation_.on() ? RotateFunction::apply(qkv, layer.heads, rotation_) : qkv;
  return inner_.attend(rows_, layer);
}

at::Tensor Attention::operator()(const at::Tensor& x, const AttentionPath& path, const Dropout& pass,
                                 const at::Tensor& wanted) const {
  at::Tensor rows = qkv(x, pass);
  if (q_norm.weight.defined()) rows = head_norm(rows, layer.heads, q_norm, k_norm);
  const at::Tensor context = path.attend(rows, layer);
  return output(wanted.defined() ? context.index_select(0, wanted) : context, pass);
}

}  // namespace retort
