// Matrix products with packed weights: out[t][r] = Σ_c weights[r][c] · x[t][c] for n = 1 … thousands of rows
// t. Each output is added up in the same order whatever n and the number of threads are (prompts may have an
// order of their own): a sequence gives the same bits alone and among others.
#pragma once

#include <span>

#include "runtime/kernels/activations.h"

namespace retort {

struct Product {
  const WeightMatrix* weights = nullptr;
  float* out = nullptr;  // [n][stride]
  std::int64_t stride = 0;
  const float* bias = nullptr;  // [rows]
  bool add = false;             // to what `out` holds: a residual
};

// All products read the same input and run as one loop. Their forms must be among those that x was assigned.
void multiply(const Activations& x, std::span<const Product> products, ThreadPool& pool,
              const KernelSet& set = kernel_set());
inline void multiply(const Activations& x, const Product& product, ThreadPool& pool,
                     const KernelSet& set = kernel_set()) {
  multiply(x, std::span(&product, 1), pool, set);
}

// out = activation(gate · x) ∘ (up · x); gate and up have equal shapes.
struct GatedProduct {
  const WeightMatrix* gate = nullptr;
  const WeightMatrix* up = nullptr;
  float* out = nullptr;  // [n][stride]
  std::int64_t stride = 0;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  Activation activation = Activation::silu;
};
void multiply_gated(const Activations& x, const GatedProduct& product, ThreadPool& pool,
                    const KernelSet& set = kernel_set());

}  // namespace retort
