// What terms on layers are held against: two models, a batch, their gradients, and formulas in fp64 over hidden
// states and openly computed attention maps.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "objective/alignment/layer_map.h"
#include "objective/objective.h"
#include "unit/objective/tiny_models.h"

namespace retort {

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

inline Pair different() { return Pair(tiny_config(32, 64, 2), tiny_config(48, 64, 3, 6)); }
inline Pair equal_shape() { return Pair(tiny_config(32, 64), tiny_config(32, 64)); }

inline double error_of_gradients(const Gradients& got, const Gradients& expected) {
  double worst = 0, scale = 0;
  for (const auto& [name, tensor] : expected) {
    scale = std::max(scale, tensor.abs().max().item<double>());
    worst = std::max(worst, (got.at(name) - tensor).abs().max().item<double>());
  }
  EXPECT_GT(scale, 0);
  return worst / scale;
}

inline at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

using Formula =
    std::function<at::Tensor(const Pair::Open&, const std::map<std::string, at::Tensor>& parameters)>;

// One pair of layers; `formula` gives Σ w · term in fp64.
inline void expect_equal(Pair models, const Json& item, LayerPair layers, const Formula& formula) {
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

}  // namespace retort
