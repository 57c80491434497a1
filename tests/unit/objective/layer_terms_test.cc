// Terms on layers and weights: values and gradients against formulas in fp64 over hidden states and openly
// computed attention maps, and the contract that all of them keep. Long because every term is held against
// the same two models, batch and reference maps, which stand here once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "objective/alignment/attention_maps.h"
#include "objective/alignment/cka.h"
#include "objective/alignment/positions.h"
#include "objective/objective.h"
#include "unit/objective/reference.h"
#include "unit/objective/tiny_models.h"

namespace retort {
namespace {

using Gradients = std::map<std::string, at::Tensor>;

struct Pair {
  Pair(ModelConfig student_config, ModelConfig teacher_config, std::uint64_t teacher_seed = 2)
      : student(std::move(student_config), at::kCPU, at::kFloat, 1),
        teacher(std::move(teacher_config), at::kCPU, at::kFloat, teacher_seed) {
    student.set_requires_grad(true);
  }

  TermContext context() {
    return {.student = &student.config(),
            .teacher = &teacher.config(),
            .student_model = &student,
            .teacher_model = &teacher,
            .sample = [this] { return std::vector<Batch>{host}; },
            .seed = 5};
  }

  Objective objective(const Json& item) { return make_objective(Json::array({item}), "terms", context()); }

  // Sum of the term over `part`, and the gradients of everything that is trained.
  std::pair<double, Gradients> run(Objective& objective, const Batch& part) {
    const DeviceBatch batch = upload(part, at::kCPU);
    ModelOutput teacher_output;
    {
      const at::NoGradGuard no_grad;
      teacher_output = teacher.forward(batch, objective.teacher_taps());
    }
    const ModelOutput output = student.forward(batch, objective.student_taps());
    const ObjectiveResult result = objective.compute({.batch = batch,
                                                      .student = student,
                                                      .student_output = output,
                                                      .teacher = &teacher,
                                                      .teacher_output = &teacher_output});
    EXPECT_DOUBLE_EQ(result.total.weight, batch.weight_sum);
    result.total.sum.backward();
    return {result.total.sum.item<double>(), take(objective.parameters())};
  }

  // The gradients there are, once.
  Gradients take(std::vector<Parameter> more) {
    for (const Parameter& p : student.parameters()) more.push_back(p);
    Gradients gradients;
    for (const Parameter& p : more) {
      at::Tensor& gradient = p.tensor.mutable_grad();
      gradients[p.name] = gradient.defined() ? gradient : at::zeros_like(p.tensor);
      gradient.reset();
    }
    return gradients;
  }

  // What the reference formulas read: taps with maps computed in the open.
  struct Open {
    DeviceBatch batch;
    ModelOutput student, teacher;
  };
  Open open(int student_layer, int teacher_layer) {
    Open all{upload(host, at::kCPU), {}, {}};
    const auto taps = [](int layer) {
      Taps taps{.hidden = {layer}, .attention = {}};
      if (layer >= 0) taps.attention = {layer}, taps.qkv = {layer};
      return taps;
    };
    {
      const at::NoGradGuard no_grad;
      all.teacher = teacher.forward(all.batch, taps(teacher_layer));
    }
    all.student = student.forward(all.batch, taps(student_layer));
    return all;
  }

  CausalLM student, teacher;
  Batch host = make_batch();
};

Pair different() { return Pair(tiny_config(32, 64, 2), tiny_config(48, 64, 3, 6)); }
Pair equal_shape() { return Pair(tiny_config(32, 64), tiny_config(32, 64)); }

double error_of_gradients(const Gradients& got, const Gradients& expected) {
  double worst = 0, scale = 0;
  for (const auto& [name, tensor] : expected) {
    scale = std::max(scale, tensor.abs().max().item<double>());
    worst = std::max(worst, (got.at(name) - tensor).abs().max().item<double>());
  }
  EXPECT_GT(scale, 0);
  return worst / scale;
}

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

using Formula =
    std::function<at::Tensor(const Pair::Open&, const std::map<std::string, at::Tensor>& parameters)>;

// One pair of layers; `formula` gives Σ w · term in fp64.
void expect_equal(Pair models, const Json& item, LayerPair layers, const Formula& formula) {
  SCOPED_TRACE(item.dump());
  Objective objective = models.objective(item);
  std::map<std::string, at::Tensor> parameters;
  for (const Parameter& p : objective.parameters()) parameters[p.name] = p.tensor;
  const auto [value, gradients] = models.run(objective, models.host);
  const at::Tensor exact = formula(models.open(layers.student, layers.teacher), parameters);
  exact.backward();
  EXPECT_NEAR(value, exact.item<double>(), 2e-5 * std::abs(exact.item<double>()));
  EXPECT_GT(std::abs(value), 1e-6);
  EXPECT_LT(error_of_gradients(gradients, models.take(objective.parameters())), 5e-5);
}

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
              testing::ElementsAre("hidden_mse.projection.0", "hidden_mse_2.projection.0"));
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
