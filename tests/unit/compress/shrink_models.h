// Models in double precision whose every weight is drawn, and what a cut makes of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "compress/shrink/cut.h"
#include "model/transformer.h"
#include "unit/model/tiny_model.h"

namespace retort {

using Indices = std::vector<std::int64_t>;

inline at::Tensor parameter(const CausalLM& model, const std::string& name) {
  for (const Parameter& p : model.parameters())
    if (p.name == name) return p.tensor;
  ADD_FAILURE() << name;
  return {};
}

inline CausalLM drawn_model(const ModelConfig& config, std::uint64_t seed = 3) {
  CausalLM model(config, at::kCPU, at::kDouble, seed);
  model.set_requires_grad(false);
  at::manual_seed(seed);
  for (const Parameter& p : model.parameters()) {
    const bool norm_weight = p.name.find("norm.weight") != std::string::npos;
    p.tensor.normal_(norm_weight ? 1 : 0, 0.3);
  }
  return model;
}

inline ParameterReader reader_of(const CausalLM& model) {
  return [&model](const ParameterSpec& spec) {
    const at::Tensor values = parameter(model, spec.name).to(at::kFloat).contiguous();
    return std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
  };
}

inline CausalLM model_of(const ModelConfig& config, const ParameterReader& read) {
  CausalLM model(config, at::kCPU, at::kDouble, 1);
  model.set_requires_grad(false);
  for (const Parameter& p : model.parameters()) {
    std::vector<float> values = read({p.name, p.tensor.sizes().vec()});
    p.tensor.copy_(at::from_blob(values.data(), p.tensor.sizes(), at::kFloat));
  }
  return model;
}

inline CausalLM cut_model(const CausalLM& model, const Cut& cut) {
  return model_of(cut_config(model.config(), cut), cut_parameters(model.config(), cut, reader_of(model)));
}

// What the head sees, at every position of some_batch().
inline at::Tensor last_hidden(const CausalLM& model) {
  const at::NoGradGuard no_grad;
  const Batch batch = some_batch();
  return model.forward(upload(batch, at::kCPU)).hidden;
}

inline bool contains(const Indices& list, std::int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace retort
