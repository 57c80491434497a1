// The CPU kernels that stand between the matrix products of a transformer block, as one table per element
// type and instruction set. Values are read as fp32, computed in fp32 and rounded once on the way out. A
// kernel works on rows [begin, end) and spawns nothing; its caller splits the rows over threads. Results do
// not depend on that split.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace retort {

// Inverted dropout whose mask is a function of (key, stream, row, column): it is computed again in the
// backward pass.
struct DropoutMask {
  float scale = 1;              // 1 / (1 - p)
  std::uint32_t threshold = 0;  // a 32-bit draw below it is dropped; 0: no dropout
  std::uint32_t key[2] = {0, 0};
  std::uint32_t stream = 0;  // layer and branch
};
inline std::int64_t dropout_scratch(std::int64_t width) { return (width + 63) / 64 * 64; }

// sum = residual + dropout(branch), or just residual when there is no branch; normed = norm(sum).
template <class T>
struct NormForward {
  const T* residual;
  const T* branch;  // null: sum is not written
  const T* weight;
  const T* bias;  // of a layer norm
  bool center;    // layer norm; else RMS norm
  float eps;
  std::int64_t width;
  T* sum;
  T* normed;
  float* mean;  // per row, when center
  float* rstd;  // per row
  DropoutMask dropout;
};

// Rows per partial sum of weight gradients: fixed, so that the sums do not depend on the number of threads.
inline constexpr std::int64_t kNormChunk = 64;

template <class T>
struct NormBackward {
  const T* grad_sum;  // gradient that reaches `sum` past the norm; may be null
  const T* grad_normed;
  const T* sum;
  const T* weight;
  const float* mean;
  const float* rstd;
  bool center;
  std::int64_t rows, width;
  T* grad_residual;
  T* grad_branch;      // null: the same as grad_residual (no dropout)
  float* grad_weight;  // [chunks, width] partial sums
  float* grad_bias;    // the same; null without center
  DropoutMask dropout;
};

// RMS norm over each head of q and k (Qwen3); v is copied. Rows are [q heads | k heads | v heads] × head_dim.
template <class T>
struct HeadNorm {
  const T* input;
  const T* q_weight;
  const T* k_weight;
  float eps;
  std::int64_t rows, q_heads, kv_heads, head_dim;
  T* output;             // forward
  const T* grad_output;  // backward
  T* grad_input;
  float* grad_weight;  // [chunks, 2, head_dim] partial sums: q, k
};

enum class ActivationKind { silu, gelu, gelu_tanh, relu };

// gated: input rows are [gate | up], output = act(gate) · up; else output = act(input).
template <class T>
struct ActivationArgs {
  ActivationKind kind;
  bool gated;
  std::int64_t width;  // of the output
  const T* input;
  T* output;
  const T* grad_output;
  T* grad_input;
};

// Rotates heads in place: (x1, x2) -> (x1 c - x2 s, x2 c + x1 s) on the two halves of each head; inverse:
// s -> -s.
template <class T>
struct RotaryArgs {
  T* x;
  std::int64_t row_stride, heads, head_dim;
  const float* cos;  // [rows, head_dim / 2]
  const float* sin;
  bool inverse;
};

// Causal attention within each of `sequences` packed sequences. An item is one (kv head, sequence):
// item = head · sequences + s.
template <class T>
struct AttentionArgs {
  const T* qkv;  // rows [q heads | k heads | v heads] × head_dim
  std::int64_t q_heads, kv_heads, head_dim;
  const std::int64_t* starts;
  std::int64_t sequences, max_length;
  std::int64_t window;  // 0: all keys
  float scale;
  T* output;   // [rows, q heads × head_dim]
  float* lse;  // [q heads, rows]: log Σ exp of scaled scores
  std::int64_t rows;
  const T* grad_output;
  T* grad_qkv;
};
inline constexpr std::int64_t kQueryBlock = 32;

// One new token per sequence: its key and value go into the cache, and its queries attend to all of it. An
// item is one (sequence, kv head).
template <class T>
struct DecodeArgs {
  const T* qkv;  // [sequences] rows of [q | k | v] heads
  std::int64_t q_heads, kv_heads, head_dim;
  T* keys;  // [sequences, kv heads, capacity, head_dim]
  T* values;
  std::int64_t capacity;
  const std::int64_t* lengths;  // per sequence, the new token counted
  std::int64_t window;
  float scale;
  T* output;
};

template <class T>
struct CpuKernels {
  void (*norm_forward)(const NormForward<T>&, std::int64_t begin, std::int64_t end, float* scratch);
  void (*norm_backward)(const NormBackward<T>&, std::int64_t begin_chunk, std::int64_t end_chunk,
                        float* scratch);
  void (*head_norm_forward)(const HeadNorm<T>&, std::int64_t begin, std::int64_t end);
  void (*head_norm_backward)(const HeadNorm<T>&, std::int64_t begin_chunk, std::int64_t end_chunk);
  void (*dropout)(const T* x, T* y, std::int64_t width, const DropoutMask&, std::int64_t begin,
                  std::int64_t end, float* scratch);
  void (*activation_forward)(const ActivationArgs<T>&, std::int64_t begin, std::int64_t end);
  void (*activation_backward)(const ActivationArgs<T>&, std::int64_t begin, std::int64_t end);
  void (*rotary)(const RotaryArgs<T>&, std::int64_t begin, std::int64_t end);
  void (*attention_forward)(const AttentionArgs<T>&, std::int64_t begin_item, std::int64_t end_item,
                            float* scratch);
  void (*attention_backward)(const AttentionArgs<T>&, std::int64_t begin_item, std::int64_t end_item,
                             float* scratch);
  // Floats of scratch that they need.
  std::int64_t (*attention_forward_scratch)(std::int64_t max_length, std::int64_t head_dim);
  std::int64_t (*attention_backward_scratch)(std::int64_t max_length, std::int64_t head_dim);
  void (*decode)(const DecodeArgs<T>&, std::int64_t begin_item, std::int64_t end_item, float* scratch);
  // out += rows[0] + rows[1] …, each [width]; `out` fp32.
  void (*add_rows)(const T* base, const std::int64_t* rows, std::int64_t count, std::int64_t width,
                   float* out);
};

// The best table this processor runs. T: float, c10::BFloat16.
template <class T>
const CpuKernels<T>& cpu_kernels();
// "avx512_bf16", "avx512", "avx2" or "portable".
const char* cpu_kernels_name();

}  // namespace retort
