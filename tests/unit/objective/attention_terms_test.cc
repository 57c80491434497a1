// Terms on attention maps and relations of values against formulas in fp64.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "objective/alignment/attention_maps.h"
#include "unit/objective/layer_oracle.h"
#include "unit/objective/reference.h"

namespace retort {
namespace {

// Σ_i w_i mean_h distance(teacher's row i of head h, student's), over the maps [heads, n, n] of each
// sequence.
at::Tensor map_formula(bool squared, const std::vector<at::Tensor>& student,
                       const std::vector<at::Tensor>& teacher, const DeviceBatch& batch) {
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (std::size_t s = 0; s < student.size(); ++s) {
    const std::int64_t n = student[s].size(1);
    at::Tensor weights = at::zeros({n}, at::kDouble);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto row = static_cast<std::size_t>(batch.starts[s] + i);
      if (batch.host->targets[row] != kNoTarget) weights[i] = batch.host->weights[row];
    }
    at::Tensor values;
    if (squared) {
      values = (student[s] - teacher[s]).square().sum(2);
    } else {
      const at::Tensor seen = at::ones({n, n}, at::kBool).tril();
      const at::Tensor log_s = at::where(seen, student[s], at::ones({}, at::kDouble)).log(),
                       log_t = at::where(seen, teacher[s], at::ones({}, at::kDouble)).log();
      values = (teacher[s] * (log_t - log_s)).sum(2);
    }
    sum = sum + (values.mean(0) * weights).sum();
  }
  return sum;
}

std::vector<at::Tensor> pick(const std::vector<at::Tensor>& maps, const std::vector<std::int64_t>& heads) {
  std::vector<at::Tensor> picked;
  for (const at::Tensor& map : maps) picked.push_back(wide(map).index_select(0, at::tensor(heads)));
  return picked;
}

TEST(LayerTerms, AttentionMapsEqualTheirFormulas) {
  for (const bool squared : {false, true}) {
    Json item = {{"name", squared ? "attention_mse" : "attention_kl"}, {"layers", Json::array({{1, 1}})}};
    // The teacher has six heads, the student four.
    expect_equal(different(), item, {1, 1}, [&](const Pair::Open& o, const auto&) {
      return map_formula(squared, pick(o.student.attention_taps.at(1), {0, 0, 1, 2, 2, 3}),
                         pick(o.teacher.attention_taps.at(1), {0, 1, 2, 3, 4, 5}), o.batch);
    });
    item["head_map"] = "project";
    expect_equal(different(), item, {1, 1}, [&](const Pair::Open& o, const auto& parameters) {
      const at::Tensor mixing = wide(parameters.begin()->second).softmax(1);
      EXPECT_EQ(mixing.sizes(), at::IntArrayRef({6, 4}));
      std::vector<at::Tensor> mixed;
      for (const at::Tensor& map : o.student.attention_taps.at(1))
        mixed.push_back(at::einsum("ts,sij->tij", {mixing, wide(map)}));
      return map_formula(squared, mixed, pick(o.teacher.attention_taps.at(1), {0, 1, 2, 3, 4, 5}), o.batch);
    });
  }
}

TEST(LayerTerms, ValueRelationsEqualTheirFormula) {
  for (const int heads : {0, 4, 16}) {
    const Json item = {{"name", "value_relation"}, {"layers", {{"last", 1}}}, {"relation_heads", heads}};
    expect_equal(different(), item, {1, 2}, [&](const Pair::Open& o, const auto&) {
      const auto relations = [&](const at::Tensor& qkv, std::int64_t width) {
        const std::int64_t parts = heads == 0 ? 2 : heads;
        std::vector<at::Tensor> maps;
        for (std::size_t s = 0; s + 1 < o.batch.starts.size(); ++s) {
          const std::int64_t begin = o.batch.starts[s], n = o.batch.starts[s + 1] - begin;
          const at::Tensor v = wide(qkv.narrow(1, qkv.size(1) - width, width).narrow(0, begin, n))
                                   .reshape({n, parts, width / parts})
                                   .transpose(0, 1);
          const at::Tensor scores =
              at::matmul(v, v.transpose(1, 2)) / std::sqrt(static_cast<double>(width / parts));
          maps.push_back(
              scores
                  .masked_fill(at::ones({n, n}, at::kBool).triu(1), -std::numeric_limits<double>::infinity())
                  .softmax(-1));
        }
        return maps;
      };
      return map_formula(false, relations(o.student.qkv_taps.at(1), 16),
                         relations(o.teacher.qkv_taps.at(2), 16), o.batch);
    });
  }
}

// Maps of like layers are made together: with the first two teacher's layers alike, with another window, and
// with fewer heads.
TEST(LayerTerms, MapsOfSeveralPairsGiveTheMeanOfEach) {
  for (const int variant : {0, 1, 2}) {
    ModelConfig student = tiny_config(32, 64, 2), teacher = tiny_config(48, 64, 3, 6);
    if (variant == 1) student.layers[1].sliding_window = teacher.layers[2].sliding_window = 4;
    if (variant == 2) teacher.layers[1].num_attention_heads = teacher.layers[1].num_key_value_heads = 4;
    for (const char* name : {"attention_kl", "attention_mse", "value_relation"}) {
      SCOPED_TRACE(testing::Message() << name << " " << variant);
      const auto run = [&](const Json& layers) {
        Pair models(student, teacher);
        Objective objective = models.objective({{"name", name}, {"layers", layers}});
        return models.run(objective, models.host);
      };
      const Json pairs = {{0, 1}, {1, 2}, {1, 0}};
      const auto [value, gradients] = run(pairs);
      double mean = 0;
      Gradients mean_gradients;
      for (const Json& pair : pairs) {
        const auto [one, of_one] = run(Json::array({pair}));
        mean += one / 3;
        for (const auto& [parameter, gradient] : of_one) {
          at::Tensor& sum = mean_gradients[parameter];
          sum = sum.defined() ? sum + gradient / 3 : gradient / 3;
        }
      }
      EXPECT_NEAR(value, mean, 1e-5 * mean);
      EXPECT_LT(error_of_gradients(gradients, mean_gradients), 2e-5);
    }
  }
}

// Layers that are made together with one below which nothing learns.
TEST(LayerTerms, MapsLearnInTheLayersThatLearn) {
  for (const char* name : {"attention_kl", "value_relation"}) {
    const auto gradients_of = [&](const Json& layers) {
      Pair models(tiny_config(32, 64, 2), tiny_config(32, 64, 2));
      for (const Parameter& p : models.student.parameters())
        if (p.name.find("layers.1.") == std::string::npos) at::Tensor(p.tensor).set_requires_grad(false);
      Objective objective = models.objective({{"name", name}, {"layers", layers}});
      return models.run(objective, models.host).second;
    };
    const Gradients together = gradients_of({{0, 0}, {1, 1}}), alone = gradients_of(Json::array({{1, 1}}));
    Gradients half;
    for (const auto& [parameter, gradient] : alone) half[parameter] = gradient / 2;
    EXPECT_LT(error_of_gradients(together, half), 1e-5) << name;
  }
}

TEST(AttentionMaps, BlocksOfAnySizeGiveTheSame) {
  Pair models = different();
  const DeviceBatch batch = upload(models.host, at::kCPU);
  std::vector<float> weights(static_cast<std::size_t>(batch.tokens.numel()), 0.5f);
  weights[4] = 0;
  const at::Tensor rows = at::randn({batch.tokens.numel(), 64}), heads = at::arange(4, at::kLong);
  const auto run = [&](std::int64_t elements, std::int64_t window) {
    const at::Tensor leaf = rows.clone().requires_grad_();
    const MapSide student{{leaf}, 8, {heads}, {heads + 4}, window},
        teacher{{rows}, 8, {heads + 4}, {heads}, window};
    const auto blocks = map_blocks(batch, weights, elements);
    const at::Tensor total = map_distance(MapDistance::kl, student, teacher, {}, blocks);
    total.backward();
    return std::tuple{total.item<double>(), leaf.grad(), blocks.size(), map_entropies(teacher, blocks)};
  };
  for (const std::int64_t window : {0, 3}) {
    const auto [total, gradient, count, entropies] = run(1 << 20, window);
    EXPECT_EQ(count, 1u);
    for (const std::int64_t elements : {1, 7, 40, 300}) {
      const auto [other, other_gradient, blocks, other_entropies] = run(elements, window);
      EXPECT_GT(blocks, 1u);
      EXPECT_NEAR(other / total, 1, 1e-6) << elements;
      EXPECT_LT(reference::relative_error(other_gradient, gradient), 1e-5);
      EXPECT_LT(reference::relative_error(other_entropies, entropies), 1e-6);
    }
  }
}

TEST(AttentionMaps, WhatOneSideMayNotSeeCountsInNeither) {
  Pair models = different();
  const DeviceBatch batch = upload(models.host, at::kCPU);
  const std::vector<float> weights(static_cast<std::size_t>(batch.tokens.numel()), 0.5f);
  const at::Tensor student_rows = at::randn({batch.tokens.numel(), 64}),
                   teacher_rows = at::randn({batch.tokens.numel(), 64}), heads = at::arange(4, at::kLong);
  for (const auto& [student_window, teacher_window] : {std::pair{3, 0}, {0, 3}, {5, 2}})
    for (const MapDistance kind : {MapDistance::kl, MapDistance::square}) {
      const at::Tensor leaf = student_rows.clone().requires_grad_(),
                       exact_leaf = wide(student_rows).requires_grad_();
      const at::Tensor got = map_distance(kind, {{leaf}, 8, {heads}, {heads + 4}, student_window},
                                          {{teacher_rows}, 8, {heads}, {heads + 4}, teacher_window}, {},
                                          map_blocks(batch, weights, 1 << 20));
      got.backward();
      at::Tensor exact = at::zeros({}, at::kDouble);
      for (std::size_t s = 0; s + 1 < batch.starts.size(); ++s) {
        const std::int64_t begin = batch.starts[s], n = batch.starts[s + 1] - begin;
        const auto seen = [&](int window) {
          const at::Tensor all = at::ones({n, n}, at::kBool).tril();
          return window > 0 ? all.triu(1 - window) : all;
        };
        const auto map = [&](const at::Tensor& rows, int window) {
          const at::Tensor x = wide(rows.narrow(0, begin, n)).view({n, 8, 8}).transpose(0, 1);
          return (at::matmul(x.narrow(0, 0, 4), x.narrow(0, 4, 4).transpose(1, 2)) / std::sqrt(8.0))
              .masked_fill(seen(window).logical_not(), -std::numeric_limits<double>::infinity())
              .softmax(-1);
        };
        const at::Tensor both = seen(student_window).logical_and(seen(teacher_window));
        const at::Tensor a_s = map(exact_leaf, student_window), a_t = map(teacher_rows, teacher_window);
        const at::Tensor one = at::ones({}, at::kDouble);
        const at::Tensor values =
            kind == MapDistance::kl
                ? at::where(both, a_t * (at::where(both, a_t, one).log() - at::where(both, a_s, one).log()),
                            0)
                : at::where(both, (a_s - a_t).square(), 0);
        exact = exact + 0.5 * values.sum() / 4;
      }
      exact.backward();
      EXPECT_NEAR(got.item<double>() / exact.item<double>(), 1, 1e-6);
      EXPECT_LT(reference::relative_error(leaf.grad(), exact_leaf.grad()), 1e-5);
    }
}

TEST(AttentionTerm, ChoosesTheTeachersHeadsByEntropy) {
  Pair models = different();
  const Pair::Open open = models.open(1, 1);
  std::vector<std::pair<double, int>> entropies;
  for (int head = 0; head < 6; ++head) {
    double sum = 0;
    for (std::size_t s = 0; s + 1 < open.batch.starts.size(); ++s)
      for (std::int64_t i = open.batch.starts[s]; i < open.batch.starts[s + 1]; ++i) {
        if (models.host.targets[static_cast<std::size_t>(i)] == kNoTarget) continue;
        const at::Tensor row = wide(open.teacher.attention_taps.at(1)[s][head][i - open.batch.starts[s]]);
        sum -= at::xlogy(row, row).sum().item<double>() * models.host.weights[static_cast<std::size_t>(i)];
      }
    entropies.emplace_back(sum, head);
  }
  std::sort(entropies.begin(), entropies.end());
  for (const char* which : {"lowest", "highest"}) {
    // 60 % of six heads: four.
    std::vector<std::int64_t> chosen;
    for (int i = 0; i < 4; ++i)
      chosen.push_back(
          entropies[static_cast<std::size_t>(std::string(which) == "lowest" ? i : 5 - i)].second);
    std::sort(chosen.begin(), chosen.end());
    std::vector<std::int64_t> paired;
    for (const std::int64_t head : chosen) paired.push_back(head * 4 / 6);
    const Json item = {
        {"name", "attention_kl"}, {"layers", Json::array({{1, 1}})}, {"heads", 0.6}, {"head_entropy", which}};
    expect_equal(different(), item, {1, 1}, [&](const Pair::Open& o, const auto&) {
      return map_formula(false, pick(o.student.attention_taps.at(1), paired),
                         pick(o.teacher.attention_taps.at(1), chosen), o.batch);
    });
  }
}

// A letter is a token.
class Letters : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions&) const override {
    return {text.begin(), text.end()};
  }
  std::string decode(std::span<const TokenId>, bool) const override { return ""; }
  std::string token_bytes(TokenId) const override { return ""; }
  std::int64_t vocab_size() const override { return 128; }
  std::optional<TokenId> token_id(std::string_view) const override { return std::nullopt; }
  std::string token_text(TokenId) const override { return ""; }
  const std::vector<AddedToken>& added_tokens() const override { return none_; }
  std::string fingerprint() const override { return ""; }

 private:
  std::vector<AddedToken> none_;
};

}  // namespace
}  // namespace retort
