#include "model/blocks/dropout.h"

#include <ATen/Context.h>

#include "base/random.h"
#include "model/kernels/launch.h"

namespace retort {

DropoutMask cpu_mask(const Dropout& dropout) {
  if (!dropout.on()) return {};
  return {.scale = static_cast<float>(1 / (1 - dropout.probability)),
          .threshold = static_cast<std::uint32_t>(dropout.probability * 0x1p32),
          .key = {static_cast<std::uint32_t>(dropout.key), static_cast<std::uint32_t>(dropout.key >> 32)},
          .stream = dropout.stream};
}

at::Tensor aten_mask(const at::Tensor& x, const Dropout& dropout) {
  const auto words = philox({dropout.stream, 0, 0, 1}, {static_cast<std::uint32_t>(dropout.key),
                                                        static_cast<std::uint32_t>(dropout.key >> 32)});
  at::Generator generator = at::globalContext().defaultGenerator(x.device()).clone();
  generator.set_current_seed(std::uint64_t{words[0]} << 32 | words[1]);
  return at::empty_like(x).bernoulli_(1 - dropout.probability, generator).div_(1 - dropout.probability);
}

namespace {

at::Tensor masked(const at::Tensor& x, const Dropout& dropout) {
  if (!has_cpu_kernels(x)) return x * aten_mask(x, dropout);
  const at::Tensor input = x.contiguous();
  at::Tensor output = at::empty_like(input);
  const std::int64_t rows = input.size(0), width = input.size(1);
  with_element_type(input, [&]<class T>(T) {
    parallel_rows(rows, 16, dropout_scratch(width),
                  [&](std::int64_t begin, std::int64_t end, float* scratch) {
                    cpu_kernels<T>().dropout(input.data_ptr<T>(), output.data_ptr<T>(), width,
                                             cpu_mask(dropout), begin, end, scratch);
                  });
  });
  return output;
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const Dropout& dropout) {
    ctx->saved_data["probability"] = dropout.probability;
    ctx->saved_data["key"] = static_cast<std::int64_t>(dropout.key);
    ctx->saved_data["stream"] = static_cast<std::int64_t>(dropout.stream);
    return masked(x, dropout);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const Dropout dropout{ctx->saved_data["probability"].toDouble(),
                          static_cast<std::uint64_t>(ctx->saved_data["key"].toInt()),
                          static_cast<std::uint32_t>(ctx->saved_data["stream"].toInt())};
    return {masked(grads[0], dropout), {}};
  }
};

}  // namespace

at::Tensor apply_dropout(const at::Tensor& x, const Dropout& dropout) {
  return dropout.on() ? DropoutFunction::apply(x, dropout) : x;
}

}  // namespace retort
