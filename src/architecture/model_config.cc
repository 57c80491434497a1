#include "architecture/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"

namespace retort {
namespace {

constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();
// Of one tensor. With at most 12 tensors in each of 1024 layers no sum leaves 64 bits.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;

class Checker {
 public:
  explicit Checker(const std::string& where) : where_(where) {}

  void range(const std::string& key, std::int64_t value, std::int64_t low, std::int64_t high) const {
    if (value < low || value > high) fail(key, fmt::format("{}", value), fmt::format("{} … {}", low, high));
  }
  void size(const std::string& key, std::int64_t value) const { range(key, value, 1, kMaxSize); }
  // Both factors are known to be below 2^31.
  void elements(const std::string& what, std::int64_t rows, std::int64_t columns) const {
    if (rows * columns > kMaxElements)
      fail(what, fmt::format("a tensor of {} × {}", rows, columns),
           fmt::format("at most {} elements", kMaxElements));
  }
  void positive(const std::string& key, double value) const {
    if (!(value > 0) || !std::isfinite(value)) fail(key, fmt::format("{}", value), "a positive number");
  }
  [[noreturn]] void fail(const std::string& key, std::string found, std::string expected) const {
    throw Error({.where = where_ + ": " + key, .found = std::move(found), .expected = std::move(expected)});
  }

 private:
  const std::string& where_;
};

void check_layer(const ModelConfig& config, std::size_t index, const Checker& check) {
  const LayerConfig& layer = config.layers[index];
  const std::string in = fmt::format(" of layer {}", index);
  check.size("num_attention_heads" + in, layer.num_attention_heads);
  check.size("num_key_value_heads" + in, layer.num_key_value_heads);
  check.size("intermediate_size" + in, layer.intermediate_size);
  check.range("sliding_window" + in, layer.sliding_window, 0, kMaxSize);
  if (layer.num_attention_heads % layer.num_key_value_heads != 0)
    check.fail("num_key_value_heads" + in, fmt::format("{}", layer.num_key_value_heads),
               fmt::format("a divisor of the {} attention heads", layer.num_attention_heads));
  check.size("num_attention_heads × head_dim" + in, layer.num_attention_heads * config.head_dim);
  check.elements("num_attention_heads" + in, layer.num_attention_heads * config.head_dim, config.hidden_size);
  check.elements("intermediate_size" + in, layer.intermediate_size, config.hidden_size);
}

void check_rope(const ModelConfig& config, const Checker& check) {
  if (config.head_dim % 2 != 0) check.fail("head_dim", fmt::format("{}", config.head_dim), "an even number");
  check.positive("rope_theta", config.rope_theta);
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == RopeScaling::Type::none) return;
  check.positive("rope_scaling.factor", scaling.factor);
  if (scaling.type != RopeScaling::Type::llama3) return;
  check.positive("rope_scaling.low_freq_factor", scaling.low_freq_factor);
  check.positive("rope_scaling.high_freq_factor", scaling.high_freq_factor);
  if (scaling.high_freq_factor <= scaling.low_freq_factor)
    check.fail("rope_scaling.high_freq_factor", fmt::format("{}", scaling.high_freq_factor),
               fmt::format("more than low_freq_factor, {}", scaling.low_freq_factor));
  check.size("rope_scaling.original_max_position_embeddings", scaling.original_max_position_embeddings);
}

}  // namespace

bool ModelConfig::uniform_layers() const {
  for (const LayerConfig& layer : layers)
    if (layer != layers.front()) return false;
  return true;
}

std::vector<double> rope_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    if (scaling.type == RopeScaling::Type::linear) {
      frequency /= scaling.factor;
    } else if (scaling.type == RopeScaling::Type::llama3) {
      // Turns within the original context: few (low frequency) are stretched, many are kept, between them a
      // blend.
      const double turns =
          static_cast<double>(scaling.original_max_position_embeddings) * frequency / (2 * std::numbers::pi);
      if (turns < scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (turns <= scaling.high_freq_factor) {
        const double smooth =
            (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
      }
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

void check_config(const ModelConfig& config, const std::string& where) {
  const Checker check(where);
  check.size("vocab_size", config.vocab_size);
  check.size("hidden_size", config.hidden_size);
  check.size("head_dim", config.head_dim);
  check.size("max_position_embeddings", config.max_position_embeddings);
  check.range("num_hidden_layers", config.num_hidden_layers(), 1, kMaxLayers);
  check.elements("vocab_size", config.vocab_size, config.hidden_size);
  if (config.position_encoding == PositionEncoding::learned)
    check.elements("max_position_embeddings", config.max_position_embeddings, config.hidden_size);
  else
    check_rope(config, check);
  check.positive("the norm's epsilon", config.norm_eps);
  for (std::size_t i = 0; i < config.layers.size(); ++i) check_layer(config, i, check);
  const auto check_token = [&](const char* key, TokenId token) {
    check.range(key, token, 0, config.vocab_size - 1);
  };
  if (config.bos_token_id) check_token("bos_token_id", *config.bos_token_id);
  if (config.pad_token_id) check_token("pad_token_id", *config.pad_token_id);
  for (const TokenId token : config.eos_token_ids) check_token("eos_token_id", token);
}

}  // namespace retort
