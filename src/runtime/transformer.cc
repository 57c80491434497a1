#include "runtime/transformer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <map>

#include "base/error.h"

namespace retort {
namespace {

// Pages of the mapped file whose content now lies elsewhere need not stay in memory.
void drop_pages(std::span<const std::byte> mapped) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(mapped.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(mapped.data()) + mapped.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

class Loader {
 public:
  Loader(const ModelWeights& weights, ThreadPool& pool) : weights_(weights), pool_(pool) {
    for (ParameterSpec& spec : parameter_specs(weights.config())) {
      std::string name = spec.name;
      specs_.emplace(std::move(name), std::move(spec));
    }
  }

  EncodedTensor tensor(const std::string& name) const { return weights_.get(specs_.at(name)); }

  // Empty when the model has no such parameter.
  std::vector<float> vector(const std::string& name) const {
    const auto spec = specs_.find(name);
    if (spec == specs_.end()) return {};
    std::vector<float> values = weights_.load(spec->second);
    for (const float value : values)
      if (!std::isfinite(value))
        throw Error({.where = weights_.where() + ": " + name,
                     .found = fmt::format("{}", value),
                     .expected = "finite numbers",
                     .advice = "The file is damaged, or its training diverged."});
    return values;
  }

  EngineNorm norm(const std::string& name) const {
    return {vector(name + ".weight"), vector(name + ".bias")};
  }

  EngineLinear linear(const std::string& name) {
    if (!specs_.contains(name + ".weight")) return {};
    const EncodedTensor stored = tensor(name + ".weight");
    EngineLinear linear{WeightMatrix({.encoding = stored.encoding,
                                      .bytes = stored.bytes,
                                      .rows = stored.rows(),
                                      .columns = stored.columns(),
                                      .name = weights_.where() + ": " + stored.name,
                                      .row_scales = stored.row_scales},
                                     pool_),
                        vector(name + ".bias"), stored.activation_limit};
    if (!stored.owned) drop_pages(stored.bytes);
    bytes_ += static_cast<double>(linear.weight.memory_bytes());
    return linear;
  }

  double bytes() const { return bytes_; }

 private:
  const ModelWeights& weights_;
  ThreadPool& pool_;
  std::map<std::string, ParameterSpec> specs_;
  double bytes_ = 0;
};

}  // namespace

NormOptions EngineNorm::options(const ModelConfig& config) const {
  return {.kind = config.normalization == Normalization::rms_norm ? NormKind::rms : NormKind::layer,
          .weight = weight.data(),
          .bias = bias.empty() ? nullptr : bias.data(),
          .eps = static_cast<float>(config.norm_eps)};
}

EngineTable::EngineTable(EncodedTensor tensor) : tensor_(std::move(tensor)) {
  if (tensor_.owned) return;
  tensor_.owned = std::make_shared<const std::vector<std::byte>>(tensor_.bytes.begin(), tensor_.bytes.end());
  drop_pages(tensor_.bytes);
  tensor_.bytes = *tensor_.owned;
}

void EngineTable::row(std::int64_t index, std::span<float> out) const {
  if (matrix_ != nullptr) return matrix_->decode_row(index, out);
  const std::size_t bytes = tensor_.row_bytes();
  tensor_.encoding->decode(tensor_.bytes.data() + static_cast<std::size_t>(index) * bytes, out);
  if (!tensor_.row_scales.empty())
    for (float& value : out) value *= tensor_.row_scales[static_cast<std::size_t>(index)];
}

EngineModel::EngineModel(const ModelWeights& weights, ThreadPool& pool) {
  Loader load(weights, pool);
  const ModelConfig& config = weights.config();
  if (config.position_encoding == PositionEncoding::learned)
    positions = EngineTable(load.tensor("model.embed_positions.weight"));
  else
    frequencies = rope_frequencies(config);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    layers.push_back({.config = config.layers[i],
                      .input_norm = load.norm(prefix + "input_layernorm"),
                      .post_norm = load.norm(prefix + "post_attention_layernorm"),
                      .q = load.linear(prefix + "self_attn.q_proj"),
                      .k = load.linear(prefix + "self_attn.k_proj"),
                      .v = load.linear(prefix + "self_attn.v_proj"),
                      .o = load.linear(prefix + "self_attn.o_proj"),
                      .q_norm = load.vector(prefix + "self_attn.q_norm.weight"),
                      .k_norm = load.vector(prefix + "self_attn.k_norm.weight"),
                      .gate = load.linear(prefix + "mlp.gate_proj"),
                      .up = load.linear(prefix + "mlp.up_proj"),
                      .down = load.linear(prefix + "mlp.down_proj")});
  }
  norm = load.norm("model.norm");
  head = load.linear(config.tie_word_embeddings ? "model.embed_tokens" : "lm_head");
  embedding = config.tie_word_embeddings ? EngineTable(&head.weight)
                                         : EngineTable(load.tensor("model.embed_tokens.weight"));
  matrix_bytes = load.bytes();
}

}  // namespace retort
