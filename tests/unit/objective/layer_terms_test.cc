// Terms on hidden states and weights against formulas in fp64, and the contract that all terms keep.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "objective/alignment/cka.h"
#include "objective/alignment/positions.h"
#include "unit/objective/layer_oracle.h"

namespace retort {
namespace {

at::Tensor rows(const at::Tensor& x, const DeviceBatch& batch) {
  return wide(x.index_select(0, batch.target_index));
}

at::Tensor projected(const at::Tensor& student, const std::map<std::string, at::Tensor>& parameters) {
  return parameters.empty() ? student : student.mm(wide(parameters.begin()->second).t());
}

TEST(LayerTerms, HiddenStatesEqualTheirFormulas) {
  for (const auto& [layers, projection] :
       {std::pair{LayerPair{0, 1}, "auto"}, {LayerPair{-1, -1}, "always"}}) {
    const Json map = Json::array({{layers.student, layers.teacher}});
    const auto hidden = [layers = layers](const Pair::Open& o, const auto& parameters) {
      return std::pair{projected(rows(o.student.hidden_taps.at(layers.student), o.batch), parameters),
                       rows(o.teacher.hidden_taps.at(layers.teacher), o.batch)};
    };
    for (const bool same_width : {false, true}) {
      const auto models = [&] { return same_width ? equal_shape() : different(); };
      if (same_width && layers.teacher >= 1 && std::string(projection) == "auto") continue;
      const Json base = {{"layers", map}, {"projection", projection}};
      Json item = base;
      item["name"] = "hidden_mse";
      expect_equal(models(), item, layers, [&](const Pair::Open& o, const auto& p) {
        const auto [s, t] = hidden(o, p);
        return (s - t).square().mean(1).dot(wide(o.batch.weights));
      });
      item["relative"] = true;
      expect_equal(models(), item, layers, [&](const Pair::Open& o, const auto& p) {
        const auto [s, t] = hidden(o, p);
        return ((s - t).square().sum(1) / t.square().sum(1)).dot(wide(o.batch.weights));
      });
      item = base;
      item["name"] = "hidden_cosine";
      expect_equal(models(), item, layers, [&](const Pair::Open& o, const auto& p) {
        const auto [s, t] = hidden(o, p);
        return (1 - at::cosine_similarity(s, t, 1)).dot(wide(o.batch.weights));
      });
    }
  }
}

// By the features' covariances, not by Gram matrices as the code has it.
at::Tensor feature_cka(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weights) {
  const at::Tensor share = (weights / weights.sum()).unsqueeze(1);
  const at::Tensor a = (x - (x * share).sum(0)) * share.sqrt(), b = (y - (y * share).sum(0)) * share.sqrt();
  return a.t().mm(b).square().sum() / (a.t().mm(a).norm() * b.t().mm(b).norm());
}

TEST(LayerTerms, CkaEqualsItsFormula) {
  const Json item = {{"name", "cka"}, {"layers", Json::array({{1, 2}})}, {"positions", "all"}};
  expect_equal(different(), item, {1, 2}, [](const Pair::Open& o, const auto&) {
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (std::size_t s = 0; s + 1 < o.batch.starts.size(); ++s) {
      const std::int64_t begin = o.batch.starts[s], n = o.batch.starts[s + 1] - begin;
      double weight = 0;
      for (std::int64_t i = begin; i < begin + n; ++i)
        if (o.batch.host->targets[static_cast<std::size_t>(i)] != kNoTarget)
          weight += o.batch.host->weights[static_cast<std::size_t>(i)];
      sum = sum + weight * (1 - feature_cka(wide(o.student.hidden_taps.at(1).narrow(0, begin, n)),
                                            wide(o.teacher.hidden_taps.at(2).narrow(0, begin, n)),
                                            at::ones({n}, at::kDouble)));
    }
    return sum;
  });
}

TEST(LayerTerms, L2EqualsItsFormulas) {
  for (const bool root : {false, true}) {
    Pair models = different();
    Objective objective = models.objective({{"name", "l2"}, {"root", root}, {"weight", 0.001}});
    const auto [value, gradients] = models.run(objective, models.host);
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (const Parameter& p : models.student.parameters()) sum = sum + wide(p.tensor).square().sum();
    const double weight = upload(models.host, at::kCPU).weight_sum;
    const at::Tensor exact = 0.001 * weight * (root ? sum.sqrt() : sum);
    exact.backward();
    EXPECT_NEAR(value / exact.item<double>(), 1, 1e-6);
    EXPECT_LT(error_of_gradients(gradients, models.take({})), 1e-6);
  }
}

TEST(LayerTerms, L2StartIsZeroAtTheStartAndPullsBack) {
  Pair models = different();
  Objective objective = models.objective({{"name", "l2_start"}});
  EXPECT_EQ(models.run(objective, models.host).first, 0);
  const at::Tensor moved = models.student.parameters().front().tensor;
  {
    const at::NoGradGuard no_grad;
    moved.add_(0.5);
  }
  const auto [value, gradients] = models.run(objective, models.host);
  const double weight = upload(models.host, at::kCPU).weight_sum;
  EXPECT_NEAR(value, weight * 0.25 * static_cast<double>(moved.numel()), 1e-3);
  EXPECT_NEAR(gradients.at(models.student.parameters().front().name).mean().item<double>(), weight, 1e-4);
}

TEST(LayerTerms, ExitsEqualTheirFormula) {
  const double tau = 1.5;
  const Json item = {{"name", "exit_kl"}, {"layers", {0, 1}}, {"temperature", tau}};
  Pair models(tiny_config(32, 64, 3), tiny_config(32, 64, 3));
  Objective objective = models.objective(item);
  EXPECT_FALSE(objective.needs_teacher());
  const auto [value, gradients] = models.run(objective, models.host);
  const DeviceBatch batch = upload(models.host, at::kCPU);
  const ModelOutput output = models.student.forward(batch, {.hidden = {0, 1}, .attention = {}});
  const at::Tensor head = wide(models.student.head_weight());
  const auto log_p = [&](const at::Tensor& states) { return (states.mm(head.t()) / tau).log_softmax(1); };
  const at::Tensor last = log_p(rows(output.hidden, batch)).detach();
  at::Tensor exact = at::zeros({}, at::kDouble);
  for (const int layer : {0, 1}) {
    const at::Tensor x = rows(output.hidden_taps.at(layer), batch);
    at::Tensor weight;
    for (const Parameter& p : models.student.parameters())
      if (p.name == "model.norm.weight") weight = wide(p.tensor);
    const at::Tensor normed =
        x / (x.square().mean(1, true) + models.student.config().norm_eps).sqrt() * weight;
    exact = exact + (last.exp() * (last - log_p(normed))).sum(1).dot(wide(batch.weights)) * tau * tau / 2;
  }
  exact.backward();
  EXPECT_NEAR(value / exact.item<double>(), 1, 1e-5);
  EXPECT_LT(error_of_gradients(gradients, models.take({})), 5e-5);
}

// Every Term of the registry, at a student of the teacher's shape.
std::vector<std::string> term_names() {
  std::vector<std::string> names;
  for (const TermRow& row : term_registry())
    if (std::holds_alternative<MakeTerm>(row.make)) names.emplace_back(row.name);
  return names;
}

TEST(TermContract, ZeroWhenTheStudentIsTheTeacher) {
  for (const std::string& name : term_names()) {
    if (name == "l2" || name == "exit_kl") continue;  // compare with no teacher
    SCOPED_TRACE(name);
    Pair models(tiny_config(32, 64), tiny_config(32, 64), /*teacher_seed=*/1);
    Objective objective = models.objective({{"name", name}});
    EXPECT_TRUE(objective.parameters().empty());  // their CKA is 1
    if (name == "l2_start") continue;             // has a test of its own
    const auto [value, gradients] = models.run(objective, models.host);
    EXPECT_EQ(value, 0);
    Pair strangers = equal_shape();
    Objective other = strangers.objective({{"name", name}, {"weight", 1}});
    const auto [far, steep] = strangers.run(other, strangers.host);
    double scale = 0;
    for (const auto& [parameter, gradient] : steep)
      scale = std::max(scale, gradient.abs().max().item<double>());
    EXPECT_GT(far, 0.1);
    for (const auto& [parameter, gradient] : gradients)
      EXPECT_LE(gradient.abs().max().item<double>(), 1e-6 * scale) << parameter;
  }
}

TEST(TermContract, PackingAndAccumulationChangeNothing) {
  for (const std::string& name : term_names())
    for (const char* positions : {"targets", "all"}) {
      const bool weighs_positions =
          !name.starts_with("l2") && name != "exit_kl" && name != "span_kl" && name != "uld";
      if (!weighs_positions && std::string(positions) == "all") continue;
      SCOPED_TRACE(name + " " + positions);
      Pair models = different();
      Json item = {{"name", name}};
      if (weighs_positions) item["positions"] = positions;
      Objective objective = models.objective(item);
      if (name == "l2_start") {
        const at::NoGradGuard no_grad;
        models.student.parameters().front().tensor.add_(0.1);
      }
      auto [together, gradients] = models.run(objective, models.host);
      double apart = 0;
      Gradients sum;
      std::vector<Example> examples = make_examples();
      std::reverse(examples.begin(), examples.end());
      for (const Example& example : examples) {
        Batch one;
        one.append(example);
        const auto [value, part] = models.run(objective, one);
        apart += value;
        for (const auto& [parameter, gradient] : part)
          sum[parameter] = sum.contains(parameter) ? sum[parameter] + gradient : gradient;
      }
      EXPECT_NEAR(apart / together, 1, 2e-6);
      EXPECT_LT(error_of_gradients(sum, gradients), 1e-5);
    }
}

TEST(TermContract, WeightsAreHonoured) {
  for (const std::string& name : term_names()) {
    SCOPED_TRACE(name);
    Pair models = different();
    Objective objective = models.objective({{"name", name}});
    if (name == "l2_start") {
      const at::NoGradGuard no_grad;
      models.student.parameters().front().tensor.add_(0.1);
    }
    const double before = models.run(objective, models.host).first;
    std::vector<Example> examples = make_examples();
    Batch doubled;
    for (Example example : examples) {
      example.weight *= 2;
      doubled.append(example);
    }
    EXPECT_NEAR(models.run(objective, doubled).first / before, 2, 1e-5);
    Batch muted;  // an example of weight 0 is as good as none
    examples[1].weight = 0;
    for (const Example& example : examples) muted.append(example);
    Batch without;
    without.append(examples[0]);
    without.append(examples[2]);
    EXPECT_NEAR(models.run(objective, muted).first / models.run(objective, without).first, 1, 1e-6);
    Batch empty;  // and a batch without a target costs nothing
    examples[0].is_target.assign(examples[0].is_target.size(), 0);
    empty.append(examples[0]);
    EXPECT_EQ(models.run(objective, empty).first, 0);
  }
}

TEST(Positions, DomainTermsCountMore) {
  Batch batch;
  for (const std::string text : {"a cat sat", "catcat"}) {
    Example example;
    example.tokens.assign(text.begin(), text.end());
    example.is_target.assign(text.size(), 1);
    example.is_target[0] = 0;
    example.weight = 2;
    batch.append(example);
  }
  const Letters letters;
  const TermContext context{.tokenizer = &letters};
  const auto weights = [&](const PositionOptions& options) {
    return PositionWeights(options, "test", context)(upload(batch, at::kCPU));
  };
  using testing::ElementsAre;
  // The last token of a sequence predicts nothing.
  const Positions some = weights({.positions = "targets", .domain_terms = {"cat"}, .domain_weight = 3});
  EXPECT_THAT(some.of_row, ElementsAre(2, 6, 6, 6, 6, 2, 2, 2, 0, 6, 6, 6, 6, 6, 0));
  EXPECT_THAT(some.starts, ElementsAre(0, 8, 13));
  EXPECT_EQ(some.index.size(0), 13);
  // Σ w of the first is 16, of the second 10.
  const Positions all = weights({.positions = "all", .domain_terms = {"sat"}, .domain_weight = 0});
  const float first = 16.0f / 9, second = 10.0f / 6;
  EXPECT_THAT(all.of_row, ElementsAre(first, first, first, first, first, 0, 0, 0, 0, second, second, second,
                                      second, second, second));
  EXPECT_THROW(weights({.positions = "all", .domain_terms = {""}}), Error);
  EXPECT_THROW(weights({.positions = "all", .domain_terms = {}, .domain_weight = -1}), Error);
}

TEST(LayerMap, SaysWhatTheTableSays) {
  using Pairs = std::vector<LayerPair>;
  const auto read = [](const char* map, LayerCounts counts) {
    return read_layer_map(parse_json(map, "test"), counts, -1, "layers");
  };
  EXPECT_EQ(read("null", {4, 12}), (Pairs{{0, 2}, {1, 5}, {2, 8}, {3, 11}}));
  EXPECT_EQ(read("\"uniform\"", {4, 4}), (Pairs{{0, 0}, {1, 1}, {2, 2}, {3, 3}}));
  EXPECT_EQ(read("\"uniform\"", {3, 7}), (Pairs{{0, 1}, {1, 4}, {2, 6}}));
  EXPECT_EQ(read("\"uniform\"", {3, 2}), (Pairs{{0, 0}, {1, 0}, {2, 1}}));
  EXPECT_EQ(read("\"last: 3\"", {4, 12}), (Pairs{{1, 9}, {2, 10}, {3, 11}}));
  EXPECT_EQ(read("{\"last\": 1}", {4, 12}), (Pairs{{3, 11}}));
  EXPECT_EQ(read("\"6-9\"", {12, 12}), (Pairs{{6, 6}, {7, 7}, {8, 8}, {9, 9}}));
  EXPECT_EQ(read("\"6-9\"", {6, 12}), (Pairs{{3, 6}, {3, 7}, {4, 8}, {4, 9}}));
  EXPECT_EQ(read("[4, 7, 10]", {12, 12}), (Pairs{{4, 4}, {7, 7}, {10, 10}}));
  EXPECT_EQ(read("7", {4, 12}), (Pairs{{2, 7}}));
  EXPECT_EQ(read("[[0, 4], [1, 7], [2, 10], [-1, -1]]", {4, 12}), (Pairs{{0, 4}, {1, 7}, {2, 10}, {-1, -1}}));
  for (const char* bad :
       {"\"6-12\"", "\"9-6\"", "\"last: 5\"", "\"last: 0\"", "[[4, 4]]", "[[0, 12]]", "[[0, -2]]", "[]",
        "\"first\"", "[[0, 1], [0, 1]]", "[[0]]", "[0.5]", "{\"first\": 3}", "true", "[-1]", "99999999999"}) {
    try {
      read(bad, {4, 12});
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.parts().where, "layers");
      EXPECT_EQ(error.exit_code(), 2);
    }
  }
  EXPECT_THROW(read_layer_map(Json::array({{-1, -1}}), {4, 12}, /*lowest=*/0, "layers"), Error);
}

TEST(Cka, KnowsRotationsAndStrangers) {
  torch::manual_seed(2);
  const at::Tensor x = at::randn({400, 12}, at::kDouble), none;
  const at::Tensor rotation = std::get<0>(at::linalg_qr(at::randn({12, 12}, at::kDouble)));
  EXPECT_NEAR(cka_distance(x, x.mm(rotation) * 3 + 7, none).item<double>(), 0, 1e-12);
  const at::Tensor y = at::randn({400, 20}, at::kDouble);
  EXPECT_GT(cka_distance(x, y, none).item<double>(), 0.9);
  EXPECT_NEAR(cka_distance(x, y, none).item<double>(),
              1 - feature_cka(x, y, at::ones({400}, at::kDouble)).item<double>(), 1e-12);
  EXPECT_EQ(cka_distance(x, at::ones({400, 3}, at::kDouble), none).item<double>(), 0);
}

TEST(Cka, ComparesAllLayersOfTwoModels) {
  Pair models(tiny_config(32, 64), tiny_config(48, 64, 3, 6));
  const std::vector<Batch> batches = {models.host};
  const CkaTable table = compare_layers(models.student, models.teacher, {batches, 20});
  EXPECT_EQ(table.positions, 20);
  EXPECT_EQ(table.values.sizes(), at::IntArrayRef({3, 4}));
  const Pair::Open open = models.open(1, 0);
  const auto first = [&](const at::Tensor& x) { return rows(x.detach(), open.batch).narrow(0, 0, 20); };
  EXPECT_NEAR(table.values[2][1].item<double>(),
              feature_cka(first(open.student.hidden_taps.at(1)), first(open.teacher.hidden_taps.at(0)),
                          at::ones({20}, at::kDouble))
                  .item<double>(),
              1e-5);
  EXPECT_NEAR(compare_pairs(models.student, models.teacher, {{1, 0}}, {batches, 20})[0],
              table.values[2][1].item<double>(), 1e-6);
  const CkaTable self = compare_layers(models.student, models.student, {batches, 20});
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(self.values[i][i].item<double>(), 1, 1e-6);
}

TEST(HiddenTerm, PutsInAProjectionWhereLayersAreUnlike) {
  Pair strangers = equal_shape();
  const auto count = [&](Pair& models, const Json& more) {
    Json item = {{"name", "hidden_mse"}};
    item.update(more);
    return models.objective(item).parameters().size();
  };
  const std::vector<Batch> batches = {strangers.host};
  const auto cka = compare_pairs(strangers.student, strangers.teacher, {{0, 0}, {1, 1}}, {batches});
  ASSERT_NE(cka[0], cka[1]);
  const double between = (cka[0] + cka[1]) / 2;
  EXPECT_EQ(count(strangers, {{"cka_threshold", between}}), 1u);
  EXPECT_EQ(count(strangers, {{"cka_threshold", 1}}), 2u);
  EXPECT_EQ(count(strangers, {{"cka_threshold", 0}}), 0u);
  EXPECT_EQ(count(strangers, {{"cka_threshold", 1}, {"projection", "never"}}), 0u);
  Pair widths = different();
  EXPECT_EQ(count(widths, {{"embeddings", true}}), 3u);
  const auto names = [](Objective objective) {
    std::vector<std::string> all;
    for (const Parameter& p : objective.parameters()) all.push_back(p.name);
    return all;
  };
  EXPECT_THAT(names(make_objective(Json::array({{{"name", "hidden_mse"}, {"layers", {{"last", 1}}}},
                                                {{"name", "hidden_mse"}, {"layers", {{"last", 1}}}}}),
                                   "terms", widths.context())),
              testing::ElementsAre("hidden_mse.projection.1:2", "hidden_mse_2.projection.1:2"));
}

TEST(LayerTerms, NameTheKeyThatIsWrong) {
  Pair models = different();
  const auto error = [&](const char* item) {
    try {
      models.objective(parse_json(item, "test"));
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return std::string(error.what());
    }
    return std::string();
  };
  using testing::HasSubstr;
  EXPECT_THAT(error(R"({"name": "hidden_mse", "layers": [[0, 3]]})"), HasSubstr("terms[0]: layers"));
  EXPECT_THAT(error(R"({"name": "attention_kl", "layers": [[-1, -1]]})"), HasSubstr("terms[0]: layers"));
  EXPECT_THAT(error(R"({"name": "value_relation", "layers": "last: 9"})"), HasSubstr("terms[0]: layers"));
  EXPECT_THAT(error(R"({"name": "value_relation", "relation_heads": 3})"),
              HasSubstr("terms[0]: relation_heads"));
  EXPECT_THAT(error(R"({"name": "cka", "layers": "lst: 1"})"), HasSubstr("terms[0]: layers"));
  EXPECT_THAT(error(R"({"name": "hidden_mse", "projection": "never"})"), HasSubstr("terms[0]: projection"));
  EXPECT_THAT(error(R"({"name": "hidden_cosine", "projection": "alwys"})"), HasSubstr("'always'"));
  EXPECT_THAT(error(R"({"name": "hidden_mse", "cka_threshold": 2})"), HasSubstr("terms[0]: cka_threshold"));
  EXPECT_THAT(error(R"({"name": "hidden_mse", "positions": "target"})"), HasSubstr("'targets'"));
  EXPECT_THAT(error(R"({"name": "hidden_mse", "domain_weight": -1})"), HasSubstr("terms[0]: domain_weight"));
  EXPECT_THAT(error(R"({"name": "attention_mse", "heads": 0})"), HasSubstr("terms[0]: heads"));
  EXPECT_THAT(error(R"({"name": "attention_mse", "head_entropy": "low"})"), HasSubstr("head_entropy"));
  EXPECT_THAT(error(R"({"name": "l2", "rot": true})"), HasSubstr("'root'"));
}

}  // namespace
}  // namespace retort
