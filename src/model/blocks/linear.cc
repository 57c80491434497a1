#include "model/blocks/linear.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/kernels/launch.h"
#include "model/kernels/matrix_product.h"

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
    std::vector<std::int64_t> trained;
    for (const at::Tensor& leaf : leaves) trained.push_back(leaf.requires_grad());
    ctx->saved_data["trained"] = trained;
    // Frozen weights need no input to be kept: most of what adapters save.
    const bool any = std::any_of(trained.begin(), trained.end(), [](std::int64_t t) { return t != 0; });
    ctx->save_for_backward({any ? x : at::Tensor(), weight});
    return matrix_product(x, weight.t(), tensor_of(bias));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const std::vector<std::int64_t> rows = ctx->saved_data["rows"].toIntVector();
    const at::Tensor grad = grads[0].contiguous();
    variable_list result(3);
    if (ctx->needs_input_grad(0)) result[0] = matrix_product(grad, saved[1]);
    const std::vector<std::int64_t> trained = ctx->saved_data["trained"].toIntVector();
    // One product when the whole group is trained, one for each part otherwise.
    const auto split = [&](std::size_t first, const auto& gradient) {
      const auto begin = trained.begin() + static_cast<std::ptrdiff_t>(first);
      const bool all = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(rows.size()),
                                       std::int64_t{0}) == static_cast<std::int64_t>(rows.size());
      const at::Tensor whole = all ? gradient(grad) : at::Tensor();
      std::int64_t row = 0;
      for (std::size_t i = 0; i < rows.size(); row += rows[i++]) {
        if (all)
          result.push_back(whole.narrow(0, row, rows[i]));
        else
          result.push_back(trained[first + i] ? gradient(grad.narrow(1, row, rows[i])) : at::Tensor());
      }
    };
    split(0, [&](const at::Tensor& part) { return matrix_product(part.t(), saved[0]); });
    if (ctx->saved_data["bias"].toBool())
      split(rows.size(), [](const at::Tensor& part) { return part.sum(0); });
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

Linear::Linear(const std::vector<std::int64_t>& out_features, std::int64_t in_features, bool bias,
               const at::TensorOptions& options, const Encoding& encoding, const std::string& name) {
  const std::int64_t total = std::accumulate(out_features.begin(), out_features.end(), std::int64_t{0});
  encoded_ = std::make_shared<EncodedWeight>(encoding, total, in_features, options, name);
  for (const std::int64_t rows : out_features)
    weights_.push_back(at::empty({rows, in_features}, options.device(at::kMeta)));
  if (bias) {
    bias_ = at::empty({total}, options);
    biases_ = rows_of(bias_, out_features);
  }
}

void Linear::encode(std::int64_t begin, std::span<const float> values, const std::string& name) {
  encoded_->encode(begin, values, name);
}

at::Tensor Linear::product(const at::Tensor& x) const {
  if (encoded_) return encoded_linear(x, encoded_, bias_);
  variable_list leaves(weights_);
  leaves.insert(leaves.end(), biases_.begin(), biases_.end());
  const bool trained =
      std::any_of(leaves.begin(), leaves.end(), [](const at::Tensor& t) { return t.requires_grad(); });
  if (!at::GradMode::is_enabled() || !(x.requires_grad() || trained))
    return matrix_product(x, weight_.t(), bias_);
  return LinearFunction::apply(x, weight_, optional_of(bias_), at::TensorList(leaves));
}

at::Tensor Linear::operator()(const at::Tensor& x, const Dropout& pass) const {
  at::Tensor y = product(x);
  for (const auto& adapter : adapters_) y = adapter->apply(x, y, *this, pass);
  return y;
}

void Linear::adapt(std::shared_ptr<const LinearAdapter> adapter, const std::string& name) {
  for (const auto& other : adapters_)
    if (!(other->stacks() && adapter->stacks()) &&
        other->row_begin() < adapter->row_begin() + adapter->rows() &&
        adapter->row_begin() < other->row_begin() + other->rows())
      throw Error({.where = name,
                   .found = "a DoRA adapter beside another",
                   .expected = "one adapter of a layer, if it sets the rows' lengths",
                   .advice = "Merge one of them into the base first (retort merge)."});
  adapters_.push_back(std::move(adapter));
}

at::Tensor Linear::rows(std::int64_t begin, std::int64_t count) const {
  return encoded_ ? encoded_->rows(begin, count) : weight_.narrow(0, begin, count);
}
at::Tensor Linear::bias_rows(std::int64_t begin, std::int64_t count) const {
  return bias_.defined() ? bias_.narrow(0, begin, count) : bias_;
}

void Linear::append_leaves(std::vector<at::Tensor>& leaves) const {
  leaves.insert(leaves.end(), weights_.begin(), weights_.end());
  leaves.insert(leaves.end(), biases_.begin(), biases_.end());
  for (const auto& adapter : adapters_) adapter->append_leaves(leaves);
}

}  // namespace retort
