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
    : config_(config),
      max_rows_(max_rows),
      model_(model),
      plan_(plan),
      cache_memory_(cache_memory),
      pool_(pool) {
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
void Forward::project(std::size_t index, std::int64_t rows) {
  const EngineLayer& layer = model_.layers[index];
  const std::int64_t q = layer.q.weight.rows(), kv = layer.k.weight.rows(), stride = q + 2 * kv;
  assign(index, LinearGroup::qkv,
         {.x = floats(x_),
          .rows = rows,
          .columns = config_.hidden_size,
          .stride = config_.hidden_size,
          .norm = layer.input_norm.options(config_)},
         {&layer.q, &layer.k, &layer.v});
  float* out = floats(qkv_);
  const Product products[] = {layer.q.to(out, stride), layer.k.to(out + q, stride),
                              layer.v.to(out + q + kv, stride)};
  multiply(activations_, products, pool_);
  adapters_.add(index, LinearGroup::qkv, activations_, out, stride, pool_);
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

void Forward::mlp(std::size_t index, std::int64_t rows) {
  const EngineLayer& layer = model_.layers[index];
  const std::int64_t width = config_.hidden_size, inner = layer.config.intermediate_size;
  assign(index, LinearGroup::gate_up,
         {.x = floats(x_),
          .rows = rows,
          .columns = width,
          .stride = width,
          .norm = layer.post_norm.options(config_)},
         {&layer.up, config_.gated_mlp ? &layer.gate : &layer.up});
  float* out = floats(inner_);
  std::int64_t stride = inner;
  if (config_.gated_mlp && adapters_.changes(index, LinearGroup::gate_up)) {
    gated_mlp_apart(index, rows);
    stride = 2 * inner;
  } else if (config_.gated_mlp) {
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
    adapters_.add(index, LinearGroup::gate_up, activations_, out, inner, pool_);
    activate(config_.activation, {out, static_cast<std::size_t>(rows * inner)}, pool_);
  }
  assign(index, LinearGroup::down, {.x = out, .rows = rows, .columns = inner, .stride = stride},
         {&layer.down});
  multiply(activations_, layer.down.to(floats(x_), width, /*add=*/true), pool_);
  adapters_.add(index, LinearGroup::down, activations_, floats(x_), width, pool_);
}

// An adapter adds to gates before their activation: rows of [gate | up] come whole to memory, the product in
// place of the gates.
void Forward::gated_mlp_apart(std::size_t index, std::int64_t rows) {
  const EngineLayer& layer = model_.layers[index];
  const std::int64_t inner = layer.config.intermediate_size, stride = 2 * inner;
  float* out = floats(inner_);
  const Product products[] = {layer.gate.to(out, stride), layer.up.to(out + inner, stride)};
  multiply(activations_, products, pool_);
  adapters_.add(index, LinearGroup::gate_up, activations_, out, stride, pool_);
  pool_.parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      float *gate = out + row * stride, *up = gate + inner;
      kernel_set().activate(config_.activation, gate, inner);
      for (std::int64_t i = 0; i < inner; ++i) gate[i] *= up[i];
    }
  });
}

// The input of some matrices, in the forms that they and adapters (fp32) read, clamped only where all of them
// ask for it.
void Forward::assign(std::size_t layer, LinearGroup group, ActivationInput input,
                     std::initializer_list<const EngineLinear*> readers) {
  ActivationForms forms = 0;
  bool clamps = true;
  for (const EngineLinear* reader : readers) {
    forms = forms | reader->form();
    clamps = clamps && reader->input_limit > 0;
    input.limit = std::max(input.limit, reader->input_limit);
  }
  if (!clamps) input.limit = 0;
  input.tile_rows = tile_rows_;
  if (adapters_.any() || observer_) forms = forms | static_cast<ActivationForms>(ActivationForm::f32);
  activations_.assign(input, forms, pool_);
  if (observer_) observer_(layer, group, activations_);
}

void Forward::prepare(const EngineAdapter& adapter) {
  std::int64_t inner = 0;
  for (const EngineLayer& layer : model_.layers) inner = std::max(inner, layer.config.intermediate_size);
  adapters_.reserve(max_rows_, adapter.most_ranks());
  if (config_.gated_mlp) inner_.reserve(static_cast<std::size_t>(max_rows_ * 2 * inner) * sizeof(float));
}

void Forward::write_prefix(const EngineAdapter& adapter, std::span<const BlockId> blocks) {
  const CachedSequence sequence{
      .blocks = blocks, .past = 0, .first_query = 0, .queries = adapter.virtual_tokens};
  const auto width = static_cast<std::int64_t>(adapter.prefix.size()) / adapter.virtual_tokens;
  const float* keys = adapter.prefix.data();
  for (std::size_t i = 0; i < model_.layers.size(); ++i) {
    const std::int64_t kv = model_.layers[i].k.weight.rows();
    write_cache(attention_layer(i), std::span(&sequence, 1), {.k = keys, .v = keys + kv, .stride = width},
                pool_);
    keys += 2 * kv;
  }
}

// Moves the output rows of the residual stream and of the heads' outputs to the front.
void Forward::keep_outputs(const StepRows& step) {
  const std::int64_t width = config_.hidden_size, heads = model_.layers.back().q.weight.rows();
  const auto move = [](float* rows, std::int64_t to, std::int64_t from, std::int64_t size) {
    if (to != from)
      std::memcpy(rows + to * size, rows + from * size, static_cast<std::size_t>(size) * sizeof(float));
  };
  output_rows_ = 0;
  tile_rows_.clear();
  for (std::size_t s = 0; s < step.sequences.size(); ++s) {
    const CachedSequence& sequence = step.sequences[s];
    const std::int64_t end = sequence.first_query + sequence.queries;
    for (std::int64_t row = end - step.outputs[s]; row < end; ++row, ++output_rows_) {
      if (sequence.tiles) tile_rows_.push_back(output_rows_);
      move(floats(x_), output_rows_, row, width);
      move(floats(mixed_), output_rows_, row, heads);
    }
  }
}

std::int64_t Forward::run(const StepRows& step) {
  embed(step);
  adapters_.begin(step);
  // The last layer's work beyond its keys and values is done for the output rows only.
  output_queries_.clear();
  tile_rows_.clear();
  for (std::size_t s = 0; s < step.sequences.size(); ++s) {
    CachedSequence queries = step.sequences[s];
    for (std::int64_t i = 0; queries.tiles && i < queries.queries; ++i)
      tile_rows_.push_back(queries.first_query + i);
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
    project(i, rows);
    const AttentionLayer attention = attention_layer(i);
    write_cache(attention, step.sequences,
                {.k = floats(qkv_) + q, .v = floats(qkv_) + q + kv, .stride = stride}, pool_);
    const std::span<const CachedSequence> queries = last ? output_queries_ : step.sequences;
    if (!queries.empty())
      attend(attention, queries,
             {.q = floats(qkv_), .out = floats(mixed_), .q_stride = stride, .out_stride = q}, pool_);
    if (last) {
      keep_outputs(step);
      adapters_.keep_outputs(step);
      rows = output_rows_;
      if (rows == 0) break;
    }
    assign(i, LinearGroup::o, {.x = floats(mixed_), .rows = rows, .columns = q, .stride = q}, {&layer.o});
    multiply(activations_, layer.o.to(floats(x_), config_.hidden_size, /*add=*/true), pool_);
    adapters_.add(i, LinearGroup::o, activations_, floats(x_), config_.hidden_size, pool_);
    mlp(i, rows);
  }
  return output_rows_;
}

void Forward::logits(std::int64_t begin, std::int64_t count, float* out) {
  std::vector<std::int64_t> tile_rows;
  for (const std::int64_t row : tile_rows_)
    if (row >= begin && row < begin + count) tile_rows.push_back(row - begin);
  activations_.assign({.x = floats(x_) + begin * config_.hidden_size,
                       .rows = count,
                       .columns = config_.hidden_size,
                       .stride = config_.hidden_size,
                       .norm = model_.norm.options(config_),
                       .limit = model_.head.input_limit,
                       .tile_rows = tile_rows},
                      model_.head.form(), pool_);
  multiply(activations_, model_.head.to(out, config_.vocab_size), pool_);
}

}  // namespace retort
