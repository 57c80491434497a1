#include "model/blocks/linear.h"

#include <numeric>

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // `leaves` (weights, then biases) carry the gradient; the buffers that they share are what is multiplied.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::TensorList leaves) {
    std::vector<std::int64_t> rows;
    const std::size_t parts = bias ? leaves.size() / 2 : leaves.size();
    for (std::size_t i = 0; i < parts; ++i) rows.push_back(leaves[i].size(0));
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["bias"] = bias.has_value();
    ctx->saved_data["train"] = leaves[0].requires_grad();
    ctx->save_for_backward({x, weight});
    return at::linear(x, weight, bias);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const std::vector<std::int64_t> rows = ctx->saved_data["rows"].toIntVector();
    const at::Tensor grad = grads[0].contiguous();
    variable_list result(3);
    if (ctx->needs_input_grad(0)) result[0] = at::mm(grad, saved[1]);
    const bool train = ctx->saved_data["train"].toBool();
    const auto split = [&](const at::Tensor& whole) {
      std::int64_t row = 0;
      for (const std::int64_t n : rows) {
        result.push_back(train ? whole.narrow(0, row, n) : at::Tensor());
        row += n;
      }
    };
    split(train ? at::mm(grad.t(), saved[0]) : at::Tensor());
    if (ctx->saved_data["bias"].toBool()) split(train ? grad.sum(0) : at::Tensor());
    return result;
  }
};

// Leaves over consecutive rows of a buffer.
std::vector<at::Tensor> rows_of(const at::Tensor& buffer, const std::vector<std::int64_t>& rows) {
  std::vector<at::Tensor> parts;
  std::int64_t row = 0;
  for (const std::int64_t n : rows) {
    parts.push_back(buffer.narrow(0, row, n).detach());
    row += n;
  }
  return parts;
}

}  // namespace

Linear::Linear(const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias,
               const at::TensorOptions& options) {
  const std::int64_t total = std::accumulate(out_features.begin(), out_features.end(), std::int64_t{0});
  weight_ = at::empty({total, in_features}, options);
  weights_ = rows_of(weight_, out_features);
  if (bias) {
    bias_ = at::empty({total}, options);
    biases_ = rows_of(bias_, out_features);
  }
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (!at::GradMode::is_enabled() || !(x.requires_grad() || weights_[0].requires_grad()))
    return at::linear(x, weight_, bias_);
  variable_list leaves;
  append_leaves(leaves);
  return LinearFunction::apply(x, weight_, optional_of(bias_), at::TensorList(leaves));
}

void Linear::append_leaves(std::vector<at::Tensor>& leaves) const {
  leaves.insert(leaves.end(), weights_.begin(), weights_.end());
  leaves.insert(leaves.end(), biases_.begin(), biases_.end());
}

}  // namespace retort
