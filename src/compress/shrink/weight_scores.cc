#include <fmt/format.h>

#include <cmath>

#include "compress/shrink/scores.h"

namespace retort {
namespace {

struct Matrix {
  std::vector<float> values;
  std::int64_t rows, columns;

  // Σ of squares over rows [row, row + height) and columns [column, column + width).
  double squares(std::int64_t row, std::int64_t height, std::int64_t column, std::int64_t width) const {
    double sum = 0;
    for (std::int64_t r = row; r < row + height; ++r)
      for (std::int64_t c = column; c < column + width; ++c) {
        const double value = values[static_cast<std::size_t>(r * columns + c)];
        sum += value * value;
      }
    return sum;
  }
  double row_squares(std::int64_t row, std::int64_t height = 1) const {
    return squares(row, height, 0, columns);
  }
  double column_squares(std::int64_t column, std::int64_t width = 1) const {
    return squares(0, rows, column, width);
  }
};

}  // namespace

UnitScores score_by_weights(const ModelConfig& config, const ParameterReader& read) {
  const auto load = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    return Matrix{read({name, {rows, columns}}), rows, columns};
  };
  const std::int64_t width = config.hidden_size, head = config.head_dim;
  UnitScores scores;
  scores.hidden.resize(static_cast<std::size_t>(width));
  const Matrix embedding = load("model.embed_tokens.weight", config.vocab_size, width);
  for (std::int64_t i = 0; i < width; ++i)
    scores.hidden[static_cast<std::size_t>(i)] = embedding.column_squares(i);
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    const LayerConfig& layer = config.layers[l];
    const std::int64_t heads = layer.num_attention_heads, ffn = layer.intermediate_size;
    const std::string prefix = fmt::format("model.layers.{}.", l);
    const Matrix o = load(prefix + "self_attn.o_proj.weight", width, heads * head);
    const Matrix v = load(prefix + "self_attn.v_proj.weight", layer.num_key_value_heads * head, width);
    const Matrix up = load(prefix + "mlp.up_proj.weight", ffn, width);
    const Matrix down = load(prefix + "mlp.down_proj.weight", width, ffn);
    LayerScores& here = scores.layers.emplace_back();
    const std::int64_t group = heads / layer.num_key_value_heads;
    for (std::int64_t i = 0; i < heads; ++i)
      here.query_heads.push_back(
          std::sqrt(o.column_squares(i * head, head) * v.row_squares(i / group * head, head)));
    for (std::int64_t i = 0; i < ffn; ++i)
      here.ffn.push_back(std::sqrt(down.column_squares(i) * up.row_squares(i)));
    for (std::int64_t i = 0; i < width; ++i)
      scores.hidden[static_cast<std::size_t>(i)] += o.row_squares(i) + down.row_squares(i);
  }
  for (double& score : scores.hidden) score = std::sqrt(score);
  return scores;
}

}  // namespace retort
