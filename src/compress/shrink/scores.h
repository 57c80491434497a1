// How much the parts of a model matter: what a cut removes first has the lowest score. Scores of one kind are
// comparable within a layer (heads, FFN channels), or within the model (residual channels, layers).
#pragma once

#include <vector>

#include "compress/shrink/calibration.h"

namespace retort {

struct LayerScores {
  std::vector<double> query_heads, ffn;
  double influence = 0;  // of the layer; by activations only
};

struct UnitScores {
  std::vector<LayerScores> layers;
  std::vector<double> hidden;
};

// Places of the `count` highest scores, ascending; of equal ones the first.
std::vector<std::int64_t> highest(const std::vector<double>& scores, std::int64_t count);

// By activations on calibration texts, as Minitron ranks them (Muralidharan et al. 2024, arXiv:2407.14679,
// section 2.2: mean of |a| over a sequence's tokens, L2 norm over sequences). a is, of a head, the L2 norm of
// its output (what o_proj reads); of an FFN channel, what down_proj reads; of a residual channel, the output
// of every norm over the stream, the norms' scores summed. A layer's influence is 1 - cos(input, output) on
// average over tokens (ShortGPT, Men et al. 2024, arXiv:2403.03853, equation 1). `model` is listened to and
// not changed otherwise.
UnitScores score_by_activations(CausalLM& model, const Calibration& calibration);

// Without data, by the norms of weights: of a head, ‖its columns of o_proj‖ · ‖its rows of v_proj‖
// (Frobenius); of an FFN channel, ‖its column of down_proj‖ · ‖its row of up_proj‖; of a residual channel, √Σ
// of squares over the embedding's column and the rows of every o_proj and down_proj, which is all that writes
// to it.
UnitScores score_by_weights(const ModelConfig& config, const ParameterReader& read);

}  // namespace retort
