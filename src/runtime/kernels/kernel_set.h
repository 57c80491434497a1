// The loops that are written once and compiled for each instruction set. A set is chosen once, at the first
// use, from what the processor can do; RETORT_ISA names another one (of those it can run). Sets agree within
// rounding.
//
// Users call the functions of multiply.h, activations.h, attention.h and vector_ops.h, which share work out
// to threads; here are the pieces that one thread does.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "architecture/model_config.h"
#include "runtime/kernels/panel.h"

namespace retort {

enum class Store { replace, add, gated };

// A job of tiles has at most so many panels (gated: half of them, and as many partners), and keeps sums of so
// many activation rows.
inline constexpr std::int64_t kTileJobPanels = 16, kTileJobRows = 512;

// A range of panels times all activation rows.
struct PanelJob {
  const std::byte* weights = nullptr;
  const std::byte* up = nullptr;  // Store::gated: `weights` is the gate, and this its partner
  std::int64_t panel_bytes = 0, chunks = 0;
  std::int64_t first_panel = 0, last_panel = 0;
  std::int64_t rows = 0;  // of the whole matrix: what lies beyond is not written
  float factor = 1;       // of all weights; for `up` its own
  float up_factor = 1;
  const float* row_scales = nullptr;  // [rows] or none
  const float* up_row_scales = nullptr;

  const std::byte* activations = nullptr;  // ActivationRun, float or bf16 rows, or tiles
  std::int64_t activation_stride = 0;      // bytes
  std::int64_t n = 0;
  // multiply_tiles:
  const std::int64_t* out_rows = nullptr;  // [n]: which row of `out` is whose
  float* scratch = nullptr;                // [kTileJobPanels / 2][kTileJobRows][32]

  float* out = nullptr;  // [n][out_stride]
  std::int64_t out_stride = 0;
  const float* bias = nullptr;  // [rows] or none
  const float* up_bias = nullptr;
  Store store = Store::replace;
  Activation activation = Activation::silu;  // Store::gated
};

enum class NormKind : std::uint8_t { none, rms, layer };

// One row of activations: normalised if asked, then written in each form that is wanted. `columns` values are
// read, and `padded` (a multiple of 64) written.
struct ActivationJob {
  const float* x = nullptr;
  std::int64_t columns = 0, padded = 0;
  NormKind norm = NormKind::none;
  const float* weight = nullptr;  // of the norm
  const float* bias = nullptr;    // of LayerNorm; may be null
  float eps = 0;
  float limit = 0;                // above 0: values are clamped to ±limit
  float* f32 = nullptr;           // [padded]
  bool f32_wanted = false;        // else f32 is scratch, and left alone if x itself will do
  ActivationRun* runs = nullptr;  // [padded / 32], or null
  std::uint16_t* bf16 = nullptr;  // [padded / 32][32], or null
  std::int64_t bf16_step = 32;    // values from 32 of them to the next
};

// One of LoRA's two products for chosen rows. In: out[row][k] = Σ_c weights[k][c] · x[row][c] for the ranks k
// of [begin, end), a multiple of kLowRankTile of them. Out: out[row][c] += Σ_k weights[k][c] · x[row][k] for
// the columns c of [begin, end), `begin` a multiple of 64.
struct LowRankJob {
  const std::byte* weights = nullptr;  // [ranks][padded] halves or floats, zero beyond the real columns
  bool half = false;
  std::int64_t padded = 0;  // a multiple of 64
  std::int64_t ranks = 0;   // Out
  const std::int64_t* rows = nullptr;
  std::int64_t n = 0;
  const float* x = nullptr;  // In: readable, and zero, up to `padded`
  float* out = nullptr;
  std::int64_t x_stride = 0, out_stride = 0;
  std::int64_t begin = 0, end = 0;
};
inline constexpr int kLowRankTile = 4;

struct AttentionJob;

struct KernelSet {
  std::string_view name;
  std::string_view summary;       // the instructions, for --version
  bool bf16_activations = false;  // multiplies bf16 weights by activations rounded to bf16, else by fp32 ones
  void (*multiply[kPanelFormats])(const PanelJob&) = {};
  // Prompts are multiplied by tiles, of bf16, where a format has them; `tiles`: all but f32 and f16 have.
  bool tiles = false;
  void (*multiply_tiles[kPanelFormats])(const PanelJob&) = {};
  void (*activation_row)(const ActivationJob&) = nullptr;
  void (*attend)(const AttentionJob&) = nullptr;
  void (*low_rank_in)(const LowRankJob&) = nullptr;
  void (*low_rank_out)(const LowRankJob&) = nullptr;
  // In place.
  void (*activate)(Activation, float* x, std::int64_t n) = nullptr;
  // RMSNorm of one head (weight null: none), then the rotation of pairs (i, i + rotated / 2). cosines and
  // sines: [rotated / 2].
  void (*norm_and_rotate)(float* x, std::int64_t head_dim, const float* weight, float eps,
                          std::int64_t rotated, const float* cosines, const float* sines) = nullptr;
  void (*to_f16)(const float* x, std::uint16_t* out, std::int64_t n) = nullptr;
  // x ≈ scale · out; returns the scale.
  float (*to_int8)(const float* x, std::int8_t* out, std::int64_t n) = nullptr;
  // log Σ exp x[i]
  float (*log_sum_exp)(const float* x, std::int64_t n) = nullptr;
};

// All that this processor can run, the simplest first.
std::span<const KernelSet* const> kernel_sets();
// The active one. Throws Error when RETORT_ISA names none of them.
const KernelSet& kernel_set();

}  // namespace retort
