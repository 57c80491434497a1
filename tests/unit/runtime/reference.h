// A transformer in double precision, written as plainly as the paper's formulas: what the engine is compared
// with. Every position of a sequence is computed from its tokens; there is no cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>

#include "architecture/model_weights.h"

namespace retort {

class Reference {
 public:
  using Rows = std::vector<std::vector<double>>;

  explicit Reference(const ModelWeights& weights) : config_(weights.config()) {
    for (const ParameterSpec& spec : parameter_specs(config_)) tensors_[spec.name] = weights.load(spec);
  }

  // Log-probabilities [n][vocab_size] of the next token at each position.
  Rows logprobs(std::span<const TokenId> tokens) const {
    const auto n = tokens.size(), width = static_cast<std::size_t>(config_.hidden_size);
    Rows x(n, std::vector<double>(width));
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t i = 0; i < width; ++i) {
        x[t][i] = at("model.embed_tokens.weight")[static_cast<std::size_t>(tokens[t]) * width + i];
        if (config_.position_encoding == PositionEncoding::learned)
          x[t][i] += at("model.embed_positions.weight")[t * width + i];
      }
    for (std::size_t l = 0; l < config_.layers.size(); ++l) {
      const std::string prefix = "model.layers." + std::to_string(l) + ".";
      Rows normed(n);
      for (std::size_t t = 0; t < n; ++t) normed[t] = norm(prefix + "input_layernorm", x[t]);
      const Rows mixed = attention(prefix + "self_attn.", config_.layers[l], normed);
      for (std::size_t t = 0; t < n; ++t) add(x[t], linear(prefix + "self_attn.o_proj", mixed[t]));
      for (std::size_t t = 0; t < n; ++t)
        add(x[t], mlp(prefix + "mlp.", norm(prefix + "post_attention_layernorm", x[t])));
    }
    for (auto& row : x) {
      row = linear(config_.tie_word_embeddings ? "model.embed_tokens" : "lm_head", norm("model.norm", row));
      double sum = 0;
      const double maximum = *std::max_element(row.begin(), row.end());
      for (const double logit : row) sum += std::exp(logit - maximum);
      for (double& logit : row) logit -= maximum + std::log(sum);
    }
    return x;
  }

 private:
  const std::vector<float>& at(const std::string& name) const { return tensors_.at(name); }
  static void add(std::vector<double>& x, const std::vector<double>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  std::vector<double> linear(const std::string& name, const std::vector<double>& x) const {
    const std::vector<float>& weight = at(name + ".weight");
    std::vector<double> out(weight.size() / x.size());
    for (std::size_t o = 0; o < out.size(); ++o)
      for (std::size_t i = 0; i < x.size(); ++i) out[o] += weight[o * x.size() + i] * x[i];
    if (const auto bias = tensors_.find(name + ".bias"); bias != tensors_.end())
      for (std::size_t o = 0; o < out.size(); ++o) out[o] += bias->second[o];
    return out;
  }

  std::vector<double> norm(const std::string& name, std::vector<double> x, bool head = false) const {
    const bool center = !head && config_.normalization == Normalization::layer_norm;
    const auto size = static_cast<double>(x.size());
    double mean = 0, square = 0;
    for (const double value : x) mean += center ? value / size : 0;
    for (const double value : x) square += (value - mean) * (value - mean) / size;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = (x[i] - mean) / std::sqrt(square + config_.norm_eps) * at(name + ".weight")[i];
      if (center) x[i] += at(name + ".bias")[i];
    }
    return x;
  }

  // One head of one row: normalised (Qwen3) and turned by its position.
  std::vector<double> head(const std::vector<double>& row, std::size_t index, std::size_t position,
                           const std::string& norm_name) const {
    const auto dim = static_cast<std::size_t>(config_.head_dim);
    std::vector<double> x(row.begin() + static_cast<std::ptrdiff_t>(index * dim),
                          row.begin() + static_cast<std::ptrdiff_t>((index + 1) * dim));
    if (config_.qk_norm) x = norm(norm_name, x, /*head=*/true);
    if (config_.position_encoding != PositionEncoding::rotary) return x;
    const std::vector<double> frequencies = rope_frequencies(config_);
    std::vector<double> turned(dim);
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      turned[i] = x[i] * std::cos(angle) - x[i + dim / 2] * std::sin(angle);
      turned[i + dim / 2] = x[i + dim / 2] * std::cos(angle) + x[i] * std::sin(angle);
    }
    return turned;
  }

  Rows attention(const std::string& prefix, const LayerConfig& layer, const Rows& x) const {
    const auto dim = static_cast<std::size_t>(config_.head_dim), n = x.size();
    const auto heads = static_cast<std::size_t>(layer.num_attention_heads);
    const auto group = heads / static_cast<std::size_t>(layer.num_key_value_heads);
    Rows q(n), k(n), v(n), out(n, std::vector<double>(heads * dim));
    for (std::size_t t = 0; t < n; ++t) {
      q[t] = linear(prefix + "q_proj", x[t]);
      k[t] = linear(prefix + "k_proj", x[t]);
      v[t] = linear(prefix + "v_proj", x[t]);
    }
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t h = 0; h < heads; ++h) {
        const std::vector<double> query = head(q[t], h, t, prefix + "q_norm");
        const std::size_t window =
            layer.sliding_window > 0 ? static_cast<std::size_t>(layer.sliding_window) : t + 1;
        const std::size_t begin = t + 1 > window ? t + 1 - window : 0;
        std::vector<double> weights;
        for (std::size_t s = begin; s <= t; ++s) {
          const std::vector<double> key = head(k[s], h / group, s, prefix + "k_norm");
          double dot = 0;
          for (std::size_t i = 0; i < dim; ++i) dot += query[i] * key[i];
          weights.push_back(dot / std::sqrt(static_cast<double>(dim)));
        }
        const double maximum = *std::max_element(weights.begin(), weights.end());
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - maximum);
        for (std::size_t s = begin; s <= t; ++s)
          for (std::size_t i = 0; i < dim; ++i)
            out[t][h * dim + i] += weights[s - begin] / sum * v[s][h / group * dim + i];
      }
    return out;
  }

  std::vector<double> mlp(const std::string& prefix, const std::vector<double>& x) const {
    std::vector<double> up = linear(prefix + "up_proj", x);
    if (config_.gated_mlp) {
      const std::vector<double> gate = linear(prefix + "gate_proj", x);
      for (std::size_t i = 0; i < up.size(); ++i) up[i] *= activate(gate[i]);
    } else {
      for (double& value : up) value = activate(value);
    }
    return linear(prefix + "down_proj", up);
  }

  double activate(double x) const {
    switch (config_.activation) {
      case Activation::silu:
        return x / (1 + std::exp(-x));
      case Activation::gelu:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::gelu_tanh:
        return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      default:
        return std::max(x, 0.0);
    }
  }

  ModelConfig config_;
  std::map<std::string, std::vector<float>> tensors_;
};

}  // namespace retort
