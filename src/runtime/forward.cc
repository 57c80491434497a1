#include "runtime/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace retort {
namespace {

float* floats(AlignedBuffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

AlignedBuffer rows_of(std::int64_t rows, std::int64_t width) {
  return AlignedBuffer(static_cast<std::size_t>(rows * width) * sizeof(float));
}

}  // namespace

CachePlan::CachePlan(const ModelConfig& config, CacheType type, std::int64_t block_tokens) {
  for (const LayerConfig& layer : config.layers) {
    layers.push_back({.type = type,
                      .block_tokens = block_tokens,
                      .kv_heads = layer.num_key_value_heads,
                      .head_dim = config.head_dim});
    offsets.push_back(block_bytes);
    block_bytes += layers.back().bytes();
  }
}

Forward::Forward(const ModelConfig& config, const EngineModel& model, const CachePlan& plan,
                 std::byte* cache_memory, std::int64_t max_rows, ThreadPool& pool)
    : config_(config), model_(model), plan_(plan), cache_memory_(cache_memory), pool_(pool) {
  std::int64_t qkv = 0, attention = 0, inner = 0;
  for (const EngineLayer& layer : model.layers) {
    qkv = std::max(qkv, layer.q.weight.rows() + layer.k.weight.rows() + layer.v.weight.rows());
    attention = std::max(attention, layer.q.weight.rows());
    inner = std::max(inner, layer.config.intermediate_size);
  }
  x_ = rows_of(max_rows, config.hidden_size);
  qkv_ = rows_of(max_rows, qkv);
  mixed_ = rows_of(max_rows, attention);
  inner_ = rows_of(max_rows, inner);
  if (!model.positions.empty()) position_ = rows_of(max_rows, config.hidden_size);
}

void Forward::embed(const StepRows& step) {
  const auto width = static_cast<std::size_t>(config_.hidden_size);
  pool_.parallel_for(
      static_cast<std::int64_t>(step.tokens.size()), 8, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::span<float> x(floats(x_) + row * config_.hidden_size, width);
          model_.embedding.row(step.tokens[static_cast<std::size_t>(row)], x);
          if (model_.positions.empty()) continue;
          const std::span<float> position(floats(position_) + row * config_.hidden_size, width);
          model_.positions.row(step.positions[static_cast<std::size_t>(row)], position);
          for (std::size_t i = 0; i < width; ++i) x[i] += position[i];
        }
      });
  if (!model_.frequencies.empty()) angles_.assign(step.positions, model_.frequencies, pool_);
}

AttentionLayer Forward::attention_layer(std::size_t index) const {
  const LayerConfig& layer = config_.layers[index];
  return {.cache = plan_.layers[index],
          .base = cache_memory_ + plan_.offsets[index],
          .block_stride = plan_.block_bytes,
          .heads = layer.num_attention_heads,
          .sliding_window = layer.sliding_window,
          .scale = 1 / std::sqrt(static_cast<float>(config_.head_dim))};
}

// x → q, k, v, normalised and turned.
void Forward::project(const EngineLayer& layer, std::int64_t rows) {
  const std::int64_t q = layer.q.weight.rows(), kv = layer.k.weight.rows(), stride = q + 2 * kv;
  activations_.assign({.x = floats(x_),
                       .rows = rows,
                       .columns = config_.hidden_size,
                       .stride = config_.hidden_size,
                       .norm = layer.input_norm.options(config_)},
                      layer.q.form() | layer.k.form() | layer.v.form(), pool_);
  float* out = floats(qkv_);
  const Product products[] = {layer.q.to(out, stride), layer.k.to(out + q, stride),
                              layer.v.to(out + q + kv, stride)};
  multiply(activations_, products, pool_);
  if (model_.frequencies.empty() && layer.q_norm.empty()) return;
  const auto heads = [&](float* x, std::int64_t count, const std::vector<float>& norm) {
    return HeadRows{.x = x,
                    .rows = rows,
                    .stride = stride,
                    .heads = count,
                    .head_dim = config_.head_dim,
                    .norm_weight = norm.empty() ? nullptr : norm.data(),
                    .eps = static_cast<float>(config_.norm_eps)};
  };
  const HeadRows groups[] = {heads(out, layer.config.num_attention_heads, layer.q_norm),
                             heads(out + q, layer.config.num_key_value_heads, layer.k_norm)};
  norm_and_rotate(groups, model_.frequencies.empty() ? nullptr : &angles_, pool_);
}

void Forward::mlp(const EngineLayer& layer, std::int64_t rows) {
  const std::int64_t width = config_.hidden_size, inner = layer.config.intermediate_size;
  activations_.assign({.x = floats(x_),
                       .rows = rows,
                       .columns = width,
                       .stride = width,
                       .norm = layer.post_norm.options(config_)},
                      layer.up.form() | (config_.gated_mlp ? layer.gate.form() : 0), pool_);
  float* out = floats(inner_);
  if (config_.gated_mlp) {
    multiply_gated(activations_,
                   {.gate = &layer.gate.weight,
                    .up = &layer.up.weight,
                    .out = out,
                    .stride = inner,
                    .gate_bias = layer.gate.bias_or_null(),
                    .up_bias = layer.up.bias_or_null(),
                    .activation = config_.activation},
                   pool_);
  } else {
    multiply(activations_, layer.up.to(out, inner), pool_);
    activate(config_.activation, {out, static_cast<std::size_t>(rows * inner)}, pool_);
  }
  activations_.assign({.x = out, .rows = rows, .columns = inner, .stride = inner}, layer.down.form(), pool_);
  multiply(activations_, layer.down.to(floats(x_), width, /*add=*/true), pool_);
}

// Moves the output rows of the residual stream and of the heads' outputs to the front.
void Forward::keep_outputs(const StepRows& step) {
  const std::int64_t width = config_.hidden_size, heads = model_.layers.back().q.weight.rows();
  const auto move = [](float* rows, std::int64_t to, std::int64_t from, std::int64_t size) {
    if (to != from)
      std::memcpy(rows + to * size, rows + from * size, static_cast<std::size_t>(size) * sizeof(float));
  };
  output_rows_ = 0;
  for (std::size_t s = 0; s < step.sequences.size(); ++s) {
    const CachedSequence& sequence = step.sequences[s];
    const std::int64_t end = sequence.first_query + sequence.queries;
    for (std::int64_t row = end - step.outputs[s]; row < end; ++row, ++output_rows_) {
      move(floats(x_), output_rows_, row, width);
      move(floats(mixed_), output_rows_, row, heads);
    }
  }
}

std::int64_t Forward::run(const StepRows& step) {
  embed(step);
  // The last layer's work beyond its keys and values is done for the output rows only.
  output_queries_.clear();
  for (std::size_t s = 0; s < step.sequences.size(); ++s) {
    CachedSequence queries = step.sequences[s];
    const std::int64_t skipped = queries.queries - step.outputs[s];
    queries.past += skipped;
    queries.first_query += skipped;
    queries.queries -= skipped;
    if (queries.queries > 0) output_queries_.push_back(queries);
  }
  auto rows = static_cast<std::int64_t>(step.tokens.size());
  for (std::size_t i = 0; i < model_.layers.size(); ++i) {
    const EngineLayer& layer = model_.layers[i];
    const bool last = i + 1 == model_.layers.size();
    const std::int64_t q = layer.q.weight.rows(), kv = layer.k.weight.rows(), stride = q + 2 * kv;
    project(layer, rows);
    const AttentionLayer attention = attention_layer(i);
    write_cache(attention, step.sequences,
                {.k = floats(qkv_) + q, .v = floats(qkv_) + q + kv, .stride = stride}, pool_);
    const std::span<const CachedSequence> queries = last ? output_queries_ : step.sequences;
    if (!queries.empty())
      attend(attention, queries,
             {.q = floats(qkv_), .out = floats(mixed_), .q_stride = stride, .out_stride = q}, pool_);
    if (last) {
      keep_outputs(step);
      rows = output_rows_;
      if (rows == 0) break;
    }
    activations_.assign({.x = floats(mixed_), .rows = rows, .columns = q, .stride = q}, layer.o.form(),
                        pool_);
    multiply(activations_, layer.o.to(floats(x_), config_.hidden_size, /*add=*/true), pool_);
    mlp(layer, rows);
  }
  return output_rows_;
}

void Forward::logits(std::int64_t begin, std::int64_t count, float* out) {
  activations_.assign({.x = floats(x_) + begin * config_.hidden_size,
                       .rows = count,
                       .columns = config_.hidden_size,
                       .stride = config_.hidden_size,
                       .norm = model_.norm.options(config_)},
                      model_.head.form(), pool_);
  multiply(activations_, model_.head.to(out, config_.vocab_size), pool_);
}

}  // namespace retort
