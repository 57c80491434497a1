#include "model/initialize.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "base/hash.h"
#include "base/random.h"

namespace retort {
namespace {

void fill_normal(float* out, std::int64_t n, double deviation, std::uint64_t seed, std::uint64_t stream) {
  at::parallel_for(0, n, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    Random random(seed, stream);
    random.seek(2 * static_cast<std::uint64_t>(begin));  // a normal number takes two draws
    for (std::int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(deviation * random.normal());
  });
}

}  // namespace

void initialize_parameters(const std::vector<Parameter>& parameters, const ModelConfig& config,
                           std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const double range = json_get_or<double>(config.hf_config, "initializer_range", 0.02, "config.json");
  const double residual_range = range / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers()));
  for (const auto& [name, tensor] : parameters) {
    if (name.ends_with(".bias")) {
      tensor.zero_();
    } else if (tensor.dim() == 1) {
      tensor.fill_(1);
    } else {
      const bool residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
      const at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
      fill_normal(values.data_ptr<float>(), values.numel(), residual ? residual_range : range, seed,
                  hash64(name));
      tensor.copy_(values);
    }
  }
}

}  // namespace retort
