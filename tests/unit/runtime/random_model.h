// Small random models in memory.
#pragma once

#include <bit>
#include <map>

#include "architecture/model_weights.h"
#include "base/hash.h"
#include "base/random.h"

namespace retort {

// A tensor that owns a copy of these values.
inline EncodedTensor owned_f32(const ParameterSpec& spec, const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  const auto owned = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  return {.name = spec.name,
          .shape = spec.shape,
          .encoding = &find_encoding("f32", "test"),
          .bytes = *owned,
          .owned = owned};
}

// Weights are a function of seed and name; matrices in an encoding without blocks.
class RandomWeights : public ModelWeights {
 public:
  explicit RandomWeights(ModelConfig config, std::uint64_t seed = 1, std::string_view encoding = "f32")
      : config_(std::move(config)), encoding_(&find_encoding(encoding, "test")) {
    for (const ParameterSpec& spec : parameter_specs(config_)) {
      std::size_t count = 1;
      for (const std::int64_t size : spec.shape) count *= static_cast<std::size_t>(size);
      std::vector<float>& values = values_[spec.name];
      values.resize(count);
      Random random(seed, hash64(spec.name));
      const bool norm = spec.name.find("norm") != std::string::npos && spec.name.ends_with(".weight");
      for (float& value : values) value = static_cast<float>((norm ? 1.0 : 0.0) + 0.2 * random.normal());
    }
  }

  const ModelConfig& config() const override { return config_; }
  EncodedTensor get(const ParameterSpec& spec) const override {
    const std::vector<float>& values = values_.at(spec.name);
    if (spec.shape.size() < 2) return owned_f32(spec, values);
    const auto count = static_cast<std::int64_t>(values.size());
    const auto owned =
        std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(encoding_->byte_size(count)));
    encode_rows(*encoding_, values, spec.shape.back(), {}, owned->data(), spec.name);
    return {.name = spec.name, .shape = spec.shape, .encoding = encoding_, .bytes = *owned, .owned = owned};
  }
  void check() const override {}
  std::string where() const override { return "random weights"; }

 private:
  ModelConfig config_;
  const Encoding* encoding_;
  std::map<std::string, std::vector<float>> values_;
};

// Rotary, RMS norms, grouped queries, layers of different sizes, one with a window.
inline ModelConfig small_config() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 61;
  config.hidden_size = 24;
  config.head_dim = 8;
  config.max_position_embeddings = 96;
  config.layers = {
      {.num_attention_heads = 4, .num_key_value_heads = 2, .intermediate_size = 40},
      {.num_attention_heads = 2, .num_key_value_heads = 1, .intermediate_size = 24, .sliding_window = 5},
      {.num_attention_heads = 3, .num_key_value_heads = 3, .intermediate_size = 32}};
  config.eos_token_ids = {2};
  return config;
}

}  // namespace retort
