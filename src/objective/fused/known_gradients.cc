#include "objective/fused/known_gradients.h"

#include "base/error.h"

namespace retort {
namespace {

struct KnownGradients : torch::autograd::Function<KnownGradients> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                            const at::Tensor& total, std::vector<at::Tensor>* gradients) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      context->saved_data[std::to_string(i)] = std::move((*gradients)[i]);
    return total.clone();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list outer) {
    if (context->saved_data.empty())
      throw Error({.where = "loss",
                   .found = "a second backward pass",
                   .expected = "one: the gradients were handed out",
                   .advice = ""},
                  ErrorKind::failure);
    // Unscaled in the common case. On CUDA looking at the factor would wait for the device, and the product
    // is cheap.
    const at::Tensor& factor = outer[0];
    const bool scale = factor.is_cuda() || factor.item<float>() != 1;
    const std::size_t inputs = context->saved_data.size();
    torch::autograd::variable_list result;
    for (std::size_t i = 0; i < inputs; ++i) {
      at::Tensor gradient = std::move(context->saved_data[std::to_string(i)]).toTensor();
      result.push_back(scale && gradient.defined() ? gradient.mul_(factor) : gradient);
    }
    context->saved_data.clear();
    result.resize(inputs + 2);
    return result;
  }
};

}  // namespace

at::Tensor with_known_gradients(const at::Tensor& total, const std::vector<at::Tensor>& inputs,
                                std::vector<at::Tensor> gradients) {
  return KnownGradients::apply(at::TensorList(inputs), total, &gradients);
}

}  // namespace retort
