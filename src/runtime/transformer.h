// The engine's parameters by their place in the model: matrices in the kernels' panels, norms and biases in
// fp32.
#pragma once

#include <memory>
#include <vector>

#include "architecture/model_weights.h"
#include "runtime/kernels/multiply.h"

namespace retort {

struct EngineNorm {
  std::vector<float> weight, bias;  // bias empty: an RMS norm

  NormOptions options(const ModelConfig& config) const;
};

struct EngineLinear {
  WeightMatrix weight;
  std::vector<float> bias;  // empty: none
  float input_limit = 0;    // above 0: inputs are clamped to ±this before they are rounded

  // out [n][stride] = x · weightᵀ + bias, or out += that.
  Product to(float* out, std::int64_t stride, bool add = false) const {
    return {.weights = &weight, .out = out, .stride = stride, .bias = bias_or_null(), .add = add};
  }
  const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
  ActivationForms form() const { return static_cast<ActivationForms>(weight.form()); }
};

struct EngineLayer {
  LayerConfig config;
  EngineNorm input_norm, post_norm;
  EngineLinear q, k, v, o;
  std::vector<float> q_norm, k_norm;  // [head_dim]; empty: none
  EngineLinear gate, up, down;        // gate empty: a plain MLP
};

// Rows that are looked up: decoded from a copy of the file's bytes, which may change while the engine runs,
// or from the head's panels when the two are tied.
class EngineTable {
 public:
  EngineTable() = default;
  explicit EngineTable(EncodedTensor tensor);
  explicit EngineTable(const WeightMatrix* matrix) : matrix_(matrix) {}

  bool empty() const { return tensor_.encoding == nullptr && matrix_ == nullptr; }
  void row(std::int64_t index, std::span<float> out) const;

 private:
  EncodedTensor tensor_;
  const WeightMatrix* matrix_ = nullptr;
};

struct EngineModel {
  EngineModel(const ModelWeights& weights, ThreadPool& pool);
  EngineModel(const EngineModel&) = delete;
  EngineModel& operator=(const EngineModel&) = delete;

  EngineTable embedding, positions;  // positions empty: rotary
  std::vector<double> frequencies;   // of rotary positions
  std::vector<EngineLayer> layers;
  EngineNorm norm;
  EngineLinear head;
  double matrix_bytes = 0;  // that one token reads
};

}  // namespace retort
