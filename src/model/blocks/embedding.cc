#include "model/blocks/embedding.h"

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Positions sorted by id, so that each id's row is written by one thread.
at::Tensor cpu_backward(const at::Tensor& grad, const at::Tensor& ids, std::int64_t rows) {
  const std::int64_t n = ids.numel(), width = grad.size(1);
  const auto [sorted, order] = ids.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const std::int64_t* id = sorted.data_ptr<std::int64_t>();
  const std::int64_t* position = order.data_ptr<std::int64_t>();
  std::vector<std::int64_t> begins;
  for (std::int64_t i = 0; i < n; ++i)
    if (i == 0 || id[i] != id[i - 1]) begins.push_back(i);
  begins.push_back(n);
  const at::Tensor out = at::zeros({rows, width}, grad.options());
  with_element_type(grad, [&]<class T>(T) {
    parallel_rows(static_cast<std::int64_t>(begins.size()) - 1, 16, width,
                  [&](std::int64_t begin, std::int64_t end, float* total) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      std::fill(total, total + width, 0.0f);
                      cpu_kernels<T>().add_rows(grad.data_ptr<T>(), position + begins[i],
                                                begins[i + 1] - begins[i], width, total);
                      std::copy(total, total + width, out.data_ptr<T>() + id[begins[i]] * width);
                    }
                  });
  });
  return out;
}

struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& weight, const at::Tensor& ids) {
    ctx->save_for_backward({ids});
    ctx->saved_data["rows"] = weight.size(0);
    return weight.index_select(0, ids);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor ids = ctx->get_saved_variables()[0];
    return {cpu_backward(grads[0].contiguous(), ids, ctx->saved_data["rows"].toInt()), at::Tensor()};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& weight, const at::Tensor& ids) {
  if (has_cpu_kernels(weight)) return EmbeddingFunction::apply(weight, ids);
  return at::embedding(weight, ids);
}

}  // namespace retort
