// Attention, rotation, norms and elementwise kernels of every set against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "formats/dtype.h"
#include "runtime/kernels/activations.h"
#include "runtime/kernels/aligned_buffer.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/vector_ops.h"

namespace retort {
namespace {

std::vector<float> normal_values(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(n);
  for (auto& value : values) value = static_cast<float>(random.normal());
  return values;
}

struct Case {
  CacheType type;
  std::int64_t heads, kv_heads, head_dim, block_tokens, window;
};

// A sequence whose keys and values are all known; queries are its last positions.
struct Sequence {
  std::int64_t length, queries;
  std::vector<std::int32_t> blocks;
  std::vector<float> k, v;
};

class Attention : public ::testing::TestWithParam<Case> {};

TEST_P(Attention, EqualsPlainSoftmax) {
  const Case c = GetParam();
  ThreadPool pool(2);
  const CacheLayout cache{
      .type = c.type, .block_tokens = c.block_tokens, .kv_heads = c.kv_heads, .head_dim = c.head_dim};
  const std::int64_t kv_width = c.kv_heads * c.head_dim, q_width = c.heads * c.head_dim;
  // Blocks of several sequences lie mixed up.
  std::vector<Sequence> sequences = {
      {1, 1, {7}, {}, {}}, {150, 70, {}, {}, {}}, {97, 1, {}, {}, {}}, {64, 64, {}, {}, {}}};
  std::int32_t next = 8;
  for (std::size_t s = 1; s < sequences.size(); ++s)
    for (std::int64_t at = 0; at < sequences[s].length; at += c.block_tokens)
      sequences[s].blocks.push_back(next++);
  AlignedBuffer memory(static_cast<std::size_t>(next * cache.bytes()));
  // What an earlier user left.
  for (std::size_t i = 0; i < memory.size(); ++i) memory.data()[i] = std::byte{0x7b};
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    sequences[s].k = normal_values(static_cast<std::size_t>(sequences[s].length * kv_width), 10 + s);
    sequences[s].v = normal_values(static_cast<std::size_t>(sequences[s].length * kv_width), 20 + s);
  }
  const AttentionLayer layer{.cache = cache,
                             .base = memory.data(),
                             .block_stride = cache.bytes(),
                             .heads = c.heads,
                             .sliding_window = c.window,
                             .scale = 1 / std::sqrt(static_cast<float>(c.head_dim))};
  for (const KernelSet* set : kernel_sets()) {
    std::vector<CachedSequence> cached;
    std::int64_t rows = 0;
    for (const Sequence& s : sequences) {
      const CachedSequence past{.blocks = s.blocks, .past = 0, .first_query = 0, .queries = s.length};
      write_cache(layer, std::span(&past, 1), {.k = s.k.data(), .v = s.v.data(), .stride = kv_width}, pool,
                  *set);
      cached.push_back(
          {.blocks = s.blocks, .past = s.length - s.queries, .first_query = rows, .queries = s.queries});
      rows += s.queries;
    }
    const std::int64_t stride = q_width + 3;
    const auto q = normal_values(static_cast<std::size_t>(rows * stride), 5);
    std::vector<float> out(static_cast<std::size_t>(rows * stride), 9.0f);
    attend(layer, cached, {.q = q.data(), .out = out.data(), .q_stride = stride, .out_stride = stride}, pool,
           *set);
    const double tolerance = c.type == CacheType::f32 ? 2e-5 : c.type == CacheType::f16 ? 2e-3 : 3e-2;
    // Tiles round to bf16: values of up to 4 by 4 / 256, and their weights, which the rounded scores change,
    // too.
    const double bf16 = set->tiles && c.type != CacheType::f32 ? 6.0 / 256 : 0;
    for (std::size_t s = 0; s < sequences.size(); ++s)
      for (std::int64_t i = 0; i < sequences[s].queries; ++i)
        for (std::int64_t h = 0; h < c.heads; ++h) {
          const std::int64_t position = cached[s].past + i, kv = h / (c.heads / c.kv_heads) * c.head_dim;
          const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
          const float* query = q.data() + (cached[s].first_query + i) * stride + h * c.head_dim;
          std::vector<double> weights;
          double most = -1e300, total = 0;
          for (std::int64_t j = first; j <= position; ++j) {
            double score = 0;
            for (std::int64_t d = 0; d < c.head_dim; ++d)
              score += static_cast<double>(query[d]) *
                       static_cast<double>(sequences[s].k[static_cast<std::size_t>(j * kv_width + kv + d)]);
            weights.push_back(score * static_cast<double>(layer.scale));
            most = std::max(most, weights.back());
          }
          for (double& weight : weights) total += weight = std::exp(weight - most);
          for (std::int64_t d = 0; d < c.head_dim; ++d) {
            double expected = 0;
            for (std::int64_t j = first; j <= position; ++j)
              expected +=
                  weights[static_cast<std::size_t>(j - first)] / total *
                  static_cast<double>(sequences[s].v[static_cast<std::size_t>(j * kv_width + kv + d)]);
            ASSERT_NEAR(
                out[static_cast<std::size_t>((cached[s].first_query + i) * stride + h * c.head_dim + d)],
                expected, tolerance + (sequences[s].queries > 1 ? bf16 : 0))
                << set->name << " sequence " << s << " query " << i << " head " << h;
          }
        }
    for (std::int64_t row = 0; row < rows; ++row)
      EXPECT_EQ(out[static_cast<std::size_t>(row * stride + q_width)], 9.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(Case{CacheType::f32, 4, 2, 64, 32, 0}, Case{CacheType::f32, 3, 3, 40, 16, 0},
                      Case{CacheType::f32, 8, 2, 8, 32, 20}, Case{CacheType::f32, 16, 1, 32, 48, 50},
                      Case{CacheType::f16, 4, 2, 128, 32, 0}, Case{CacheType::f16, 2, 1, 20, 64, 33},
                      Case{CacheType::q8, 4, 4, 64, 32, 0}, Case{CacheType::q8, 6, 2, 36, 16, 9},
                      Case{CacheType::f16, 6, 2, 80, 48, 35}, Case{CacheType::f16, 3, 1, 16, 16, 0},
                      Case{CacheType::q8, 5, 1, 48, 64, 60}));

TEST(AttentionPieces, AQueryGivesTheSameBitsWhateverStandsWithIt) {
  ThreadPool pool(2);
  constexpr std::int64_t kLength = 100, kHeads = 4, kKvHeads = 2, kDim = 64, kTokens = 32;
  const std::vector<std::int32_t> blocks = {3, 0, 2, 1};
  const auto k = normal_values(kLength * kKvHeads * kDim, 1), v = normal_values(kLength * kKvHeads * kDim, 2),
             q = normal_values(kLength * kHeads * kDim, 3);
  for (const CacheType type : {CacheType::f32, CacheType::f16, CacheType::q8}) {
    const CacheLayout cache{.type = type, .block_tokens = kTokens, .kv_heads = kKvHeads, .head_dim = kDim};
    AlignedBuffer memory(static_cast<std::size_t>(4 * cache.bytes()));
    const AttentionLayer layer{.cache = cache,
                               .base = memory.data(),
                               .block_stride = cache.bytes(),
                               .heads = kHeads,
                               .scale = 0.125f};
    for (const KernelSet* set : kernel_sets()) {
      // Each piece is written and attended to before the next one is there.
      const auto attend_in = [&](const std::vector<std::int64_t>& pieces) {
        std::fill(memory.data(), memory.data() + memory.size(), std::byte{0x7d});
        std::vector<float> out(q.size());
        std::int64_t past = 0;
        for (const std::int64_t count : pieces) {
          const CachedSequence piece{.blocks = blocks, .past = past, .first_query = past, .queries = count};
          write_cache(layer, std::span(&piece, 1), {.k = k.data(), .v = v.data(), .stride = kKvHeads * kDim},
                      pool, *set);
          attend(layer, std::span(&piece, 1),
                 {.q = q.data(), .out = out.data(), .q_stride = kHeads * kDim, .out_stride = kHeads * kDim},
                 pool, *set);
          past += count;
        }
        return out;
      };
      EXPECT_EQ(attend_in({100}), attend_in({2, 31, 5, 60, 2})) << set->name;
    }
  }
}

TEST(KernelVectors, NormsOfActivations) {
  ThreadPool pool(2);
  for (const std::int64_t columns : {5, 64, 288, 1030}) {
    const std::int64_t rows = 3;
    const auto x = normal_values(static_cast<std::size_t>(rows * columns), 1);
    const auto weight = normal_values(static_cast<std::size_t>(columns), 2),
               bias = normal_values(static_cast<std::size_t>(columns), 3);
    for (const KernelSet* set : kernel_sets())
      for (const NormKind kind : {NormKind::none, NormKind::rms, NormKind::layer}) {
        Activations activations;
        const NormOptions norm{.kind = kind,
                               .weight = kind == NormKind::none ? nullptr : weight.data(),
                               .bias = kind == NormKind::layer ? bias.data() : nullptr,
                               .eps = 1e-5f};
        activations.assign({.x = x.data(), .rows = rows, .columns = columns, .stride = columns, .norm = norm},
                           ActivationForm::f32 | ActivationForm::int8 | ActivationForm::bf16, pool, *set);
        for (std::int64_t r = 0; r < rows; ++r) {
          const float* row = x.data() + r * columns;
          double mean = 0, square = 0;
          for (std::int64_t c = 0; c < columns; ++c)
            mean += static_cast<double>(row[c]) / static_cast<double>(columns);
          if (kind != NormKind::layer) mean = 0;
          for (std::int64_t c = 0; c < columns; ++c)
            square += std::pow(static_cast<double>(row[c]) - mean, 2) / static_cast<double>(columns);
          const double factor = kind == NormKind::none ? 1 : 1 / std::sqrt(square + 1e-5);
          const auto* runs =
              reinterpret_cast<const ActivationRun*>(activations.form(ActivationForm::int8).data +
                                                     r * activations.form(ActivationForm::int8).stride);
          const auto* bf16 =
              reinterpret_cast<const std::uint16_t*>(activations.form(ActivationForm::bf16).data +
                                                     r * activations.form(ActivationForm::bf16).stride);
          for (std::int64_t c = 0; c < columns; ++c) {
            const auto i = static_cast<std::size_t>(c);
            double expected = (static_cast<double>(row[c]) - mean) * factor;
            if (norm.weight) expected *= static_cast<double>(weight[i]);
            if (norm.bias) expected += static_cast<double>(bias[i]);
            const float value = activations.row(r)[i];
            ASSERT_NEAR(value, expected, 1e-5 * (1 + std::fabs(expected))) << set->name << ' ' << columns;
            const ActivationRun& run = runs[c / 32];
            ASSERT_NEAR(static_cast<float>(run.codes[c % 32]) * run.scale, value, 0.5001f * run.scale)
                << set->name;
            ASSERT_EQ(bf16[i], float_to_bf16(value)) << set->name;
          }
          for (std::int64_t c = 0; c < (columns + 31) / 32; ++c) {
            int halves[2] = {};
            for (int j = 0; j < 32; ++j) halves[j / 16] += runs[c].codes[j];
            ASSERT_EQ(runs[c].half_start[0], -128 * halves[0]) << set->name;
            ASSERT_EQ(runs[c].half_start[1], -128 * halves[1]) << set->name;
            ASSERT_EQ(runs[c].start, -128 * (halves[0] + halves[1])) << set->name;
            ASSERT_FLOAT_EQ(runs[c].sum, runs[c].scale * static_cast<float>(halves[0] + halves[1]))
                << set->name;
          }
        }
      }
  }
}

TEST(KernelVectors, ValuesThatAreNotFiniteDoNotTrap) {
  ThreadPool pool(1);
  std::vector<float> x(64, 1.0f);
  x[3] = std::nanf("");
  x[40] = INFINITY;
  for (const KernelSet* set : kernel_sets()) {
    Activations activations;
    activations.assign({.x = x.data(), .rows = 1, .columns = 64, .stride = 64},
                       ActivationForm::int8 | ActivationForm::bf16, pool, *set);
    const auto* runs = reinterpret_cast<const ActivationRun*>(activations.form(ActivationForm::int8).data);
    for (int i = 0; i < 2; ++i)
      for (const std::int8_t code : runs[i].codes) EXPECT_GE(code, -128) << set->name;
  }
}

TEST(KernelVectors, ActivationFunctions) {
  ThreadPool pool(2);
  std::vector<float> x;
  for (float v = -12; v < 12; v += 0.0137f) x.push_back(v);
  for (const float v : {-200.0f, 200.0f, 0.0f, -88.0f, 88.9f}) x.push_back(v);
  const auto expected = [](Activation activation, double v) {
    switch (activation) {
      case Activation::silu:
        return v / (1 + std::exp(-v));
      case Activation::relu:
        return std::max(v, 0.0);
      case Activation::gelu:
        return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
      case Activation::gelu_tanh:
        return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    }
    return 0.0;
  };
  for (const KernelSet* set : kernel_sets())
    for (const Activation activation :
         {Activation::silu, Activation::relu, Activation::gelu, Activation::gelu_tanh}) {
      auto y = x;
      activate(activation, y, pool, *set);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double value = expected(activation, static_cast<double>(x[i]));
        ASSERT_NEAR(y[i], value, 2e-6 * (1 + std::fabs(value))) << set->name << ' ' << x[i];
      }
    }
}

TEST(KernelVectors, HeadsAreNormalisedAndRotated) {
  ThreadPool pool(2);
  const std::int64_t rows = 5, heads = 3, stride = 200;
  for (const std::int64_t head_dim : {8, 20, 64}) {
    const std::int64_t rotated = head_dim == 20 ? 12 : head_dim;
    std::vector<double> frequencies;
    for (std::int64_t i = 0; i < rotated / 2; ++i)
      frequencies.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotated)));
    const std::vector<std::int64_t> positions = {0, 1, 17, 511, 40000};
    RotaryAngles angles;
    angles.assign(positions, frequencies, pool);
    const auto x = normal_values(static_cast<std::size_t>(rows * stride), 4),
               weight = normal_values(static_cast<std::size_t>(head_dim), 6);
    for (const KernelSet* set : kernel_sets()) {
      auto y = x;
      const HeadRows group{.x = y.data(),
                           .rows = rows,
                           .stride = stride,
                           .heads = heads,
                           .head_dim = head_dim,
                           .norm_weight = weight.data(),
                           .eps = 1e-6f};
      norm_and_rotate(std::span(&group, 1), &angles, pool, *set);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t h = 0; h < heads; ++h) {
          const std::int64_t at = r * stride + h * head_dim;
          std::vector<double> v(static_cast<std::size_t>(head_dim));
          double square = 0;
          for (std::int64_t d = 0; d < head_dim; ++d)
            square += std::pow(static_cast<double>(x[static_cast<std::size_t>(at + d)]), 2) /
                      static_cast<double>(head_dim);
          for (std::size_t d = 0; d < v.size(); ++d)
            v[d] = static_cast<double>(x[static_cast<std::size_t>(at) + d]) / std::sqrt(square + 1e-6) *
                   static_cast<double>(weight[d]);
          for (std::int64_t d = 0; d < head_dim; ++d) {
            double expected = v[static_cast<std::size_t>(d)];
            if (d < rotated) {
              const std::int64_t pair = d % (rotated / 2);
              const double angle = static_cast<double>(positions[static_cast<std::size_t>(r)]) *
                                   frequencies[static_cast<std::size_t>(pair)];
              const double a = v[static_cast<std::size_t>(pair)],
                           b = v[static_cast<std::size_t>(pair + rotated / 2)];
              expected = d < rotated / 2 ? a * std::cos(angle) - b * std::sin(angle)
                                         : b * std::cos(angle) + a * std::sin(angle);
            }
            ASSERT_NEAR(y[static_cast<std::size_t>(at + d)], expected, 1e-5) << set->name;
          }
        }
      EXPECT_EQ(y[199], x[199]);
    }
  }
}

TEST(KernelVectors, LogSumExp) {
  for (const std::size_t n : {1u, 3u, 16u, 1000u, 151936u}) {
    auto x = normal_values(n, 8);
    for (auto& value : x) value = value * 5 + 100;
    double total = 0;
    for (const float value : x) total += std::exp(static_cast<double>(value) - 100);
    for (const KernelSet* set : kernel_sets())
      EXPECT_NEAR(log_sum_exp(x, *set), 100 + std::log(total), 2e-5) << set->name;
  }
  const std::vector<float> nothing(20, -INFINITY);
  for (const KernelSet* set : kernel_sets()) EXPECT_EQ(log_sum_exp(nothing, *set), -INFINITY);
}

TEST(KernelVectors, HalvesRoundAsTheFormatSays) {
  std::vector<float> x = {0.0f,        -0.0f,          1.0f,       65504.0f, 65519.0f, 65520.0f,
                          1e9f,        6e-8f,          2.9e-8f,    3e-8f,    6.1e-5f,  1e-40f,
                          -1.0009765f, 1.00048828125f, 1.0014648f, INFINITY};
  const auto more = normal_values(1001, 3);
  x.insert(x.end(), more.begin(), more.end());
  for (const KernelSet* set : kernel_sets()) {
    std::vector<std::uint16_t> halves(x.size());
    set->to_f16(x.data(), halves.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(halves[i], float_to_f16(x[i])) << set->name << ' ' << x[i];
  }
}

}  // namespace
}  // namespace retort
