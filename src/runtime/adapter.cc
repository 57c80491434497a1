#include "runtime/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"

namespace retort {
namespace {

// Pieces of work: rows few enough that a group's matrices stay in the cache between them, columns enough that
// handing them out costs nothing.
constexpr std::int64_t kRowsAtOnce = 32, kColumnsAtOnce = 512, kPadding = 64;

std::int64_t rounded_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

// One row of weights, the rest of the padding zero.
void put_row(const float* values, std::int64_t count, std::int64_t padded, bool half, std::byte* out) {
  const std::size_t size = half ? 2 : 4;
  std::memset(out, 0, static_cast<std::size_t>(padded) * size);
  if (half)
    kernel_set().to_f16(values, reinterpret_cast<std::uint16_t*>(out), count);
  else
    std::memcpy(out, values, static_cast<std::size_t>(count) * size);
}

// The projections of a layer by group, and the widths of their outputs.
struct Projection {
  const char* name;
  LinearGroup group;
  std::int64_t in, out;
};
std::vector<Projection> projections(const ModelConfig& config, const LayerConfig& layer) {
  const std::int64_t width = config.hidden_size, inner = layer.intermediate_size;
  const std::int64_t q = layer.num_attention_heads * config.head_dim;
  const std::int64_t kv = layer.num_key_value_heads * config.head_dim;
  std::vector<Projection> list = {{"self_attn.q_proj", LinearGroup::qkv, width, q},
                                  {"self_attn.k_proj", LinearGroup::qkv, width, kv},
                                  {"self_attn.v_proj", LinearGroup::qkv, width, kv},
                                  {"self_attn.o_proj", LinearGroup::o, q, width}};
  if (config.gated_mlp) list.push_back({"mlp.gate_proj", LinearGroup::gate_up, width, inner});
  list.push_back({"mlp.up_proj", LinearGroup::gate_up, width, inner});
  list.push_back({"mlp.down_proj", LinearGroup::down, inner, width});
  return list;
}

}  // namespace

LowRankGroup::LowRankGroup(std::int64_t in, std::span<const Target> targets, bool half)
    : padded_(rounded_up(in, kPadding)), half_(half) {
  std::int64_t ranks = 0;
  for (const Target& target : targets)
    for (const LoraPart* part : target.parts) ranks += part->rank;
  if (ranks == 0) return;
  ranks_ = rounded_up(ranks, kLowRankTile);
  const std::int64_t size = half ? 2 : 4;
  a_ = AlignedBuffer(static_cast<std::size_t>(ranks_ * padded_ * size));
  std::memset(a_.data(), 0, a_.size());
  std::int64_t rank = 0;
  for (const Target& target : targets) {
    if (target.parts.empty()) continue;
    Output output{.column = target.column,
                  .out = target.out,
                  .first_rank = rank,
                  .ranks = 0,
                  .padded = rounded_up(target.out, kPadding),
                  .b = {}};
    for (const LoraPart* part : target.parts) output.ranks += part->rank;
    output.b = AlignedBuffer(static_cast<std::size_t>(output.ranks * output.padded * size));
    std::int64_t own = 0;
    std::vector<float> column(static_cast<std::size_t>(target.out));
    for (std::size_t i = 0; i < target.parts.size(); ++i) {
      const LoraPart& part = *target.parts[i];
      const auto factor = static_cast<float>(part.scale * target.weights[i]);
      for (std::int64_t k = 0; k < part.rank; ++k, ++rank, ++own) {
        put_row(part.a.data() + k * in, in, padded_, half, a_.data() + rank * padded_ * size);
        for (std::int64_t row = 0; row < part.out; ++row)
          column[static_cast<std::size_t>(row)] =
              factor * part.b[static_cast<std::size_t>(row * part.rank + k)];
        put_row(column.data(), part.out, output.padded, half, output.b.data() + own * output.padded * size);
      }
    }
    outputs_.push_back(std::move(output));
  }
}

void LowRankGroup::append_in(const Rows& rows, std::vector<LowRankJob>& jobs) const {
  for (std::size_t first = 0; first < rows.rows.size(); first += kRowsAtOnce)
    for (std::int64_t rank = 0; rank < ranks_; rank += kLowRankTile)
      jobs.push_back(
          {.weights = a_.data(),
           .half = half_,
           .padded = padded_,
           .rows = rows.rows.data() + first,
           .n = std::min<std::int64_t>(kRowsAtOnce, static_cast<std::int64_t>(rows.rows.size() - first)),
           .x = rows.x,
           .out = rows.inner,
           .x_stride = rows.x_stride,
           .out_stride = rows.inner_stride,
           .begin = rank,
           .end = rank + kLowRankTile});
}

void LowRankGroup::append_out(const Rows& rows, std::vector<LowRankJob>& jobs) const {
  for (std::size_t first = 0; first < rows.rows.size(); first += kRowsAtOnce)
    for (const Output& output : outputs_)
      for (std::int64_t column = 0; column < output.out; column += kColumnsAtOnce)
        jobs.push_back(
            {.weights = output.b.data(),
             .half = half_,
             .padded = output.padded,
             .ranks = output.ranks,
             .rows = rows.rows.data() + first,
             .n = std::min<std::int64_t>(kRowsAtOnce, static_cast<std::int64_t>(rows.rows.size() - first)),
             .x = rows.inner + output.first_rank,
             .out = rows.out + output.column,
             .x_stride = rows.inner_stride,
             .out_stride = rows.out_stride,
             .begin = column,
             .end = std::min(column + kColumnsAtOnce, output.out)});
}

EngineAdapter::EngineAdapter(std::span<const WeightedAdapter> stack, const ModelConfig& config, bool half) {
  std::multimap<std::string, std::pair<const LoraPart*, double>> parts;
  for (const auto& [adapter, weight] : stack) {
    for (const LoraPart& part : adapter->lora) parts.emplace(part.parameter, std::pair(&part, weight));
    if (adapter->virtual_tokens == 0) continue;
    if (weight != 1 || virtual_tokens > 0)
      throw Error({.where = adapter->where,
                   .found = virtual_tokens > 0 ? "a second prefix"
                                               : fmt::format("a prefix with the weight {}", weight),
                   .expected = "one prefix, whole: keys and values have no fraction"});
    virtual_tokens = adapter->virtual_tokens;
    prefix = adapter->prefix;
  }
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    std::array<std::vector<LowRankGroup::Target>, kLinearGroups> targets;
    std::array<std::int64_t, kLinearGroups> ins{}, outs{};
    for (const Projection& projection : projections(config, config.layers[i])) {
      const auto group = static_cast<std::size_t>(projection.group);
      LowRankGroup::Target target{.column = outs[group], .out = projection.out, .parts = {}, .weights = {}};
      const auto [begin, end] =
          parts.equal_range(fmt::format("model.layers.{}.{}.weight", i, projection.name));
      for (auto part = begin; part != end; ++part) {
        target.parts.push_back(part->second.first);
        target.weights.push_back(part->second.second);
      }
      targets[group].push_back(std::move(target));
      ins[group] = projection.in;
      outs[group] += projection.out;
    }
    auto& layer = layers.emplace_back();
    for (std::size_t group = 0; group < layer.size(); ++group)
      layer[group] = LowRankGroup(ins[group], targets[group], half);
  }
}

std::int64_t EngineAdapter::most_ranks() const {
  std::int64_t most = 0;
  for (const auto& layer : layers)
    for (const LowRankGroup& group : layer) most = std::max(most, group.ranks());
  return most;
}

}  // namespace retort
