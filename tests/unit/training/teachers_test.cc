// Several teachers as one, chosen teachers, and averages of the student.
#include "training/teachers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "objective/fused/linear_loss.h"
#include "objective/objective.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

ModelConfig of_width(std::int64_t hidden_size, std::int64_t vocab) {
  ModelConfig config = tiny_llama();
  config.hidden_size = hidden_size;
  config.vocab_size = vocab;
  return config;
}

// Two sequences of text from two files, their prompts of 3 and 8 tokens.
Batch two_sequences() {
  Batch batch;
  for (const auto& [prompt, length, source] : {std::tuple{3, 10, 0}, {8, 14, 1}}) {
    Example example;
    example.tokens = random_tokens(length, static_cast<std::uint64_t>(length), 60);
    for (int i = 0; i < length; ++i) example.is_target.push_back(i >= prompt);
    example.source = source;
    example.weight = 0.5f + static_cast<float>(source);
    batch.append(example);
  }
  return batch;
}

struct Scene {
  CausalLM student{of_width(32, 67), at::kCPU, at::kFloat, 1};
  std::shared_ptr<CausalLM> small = std::make_shared<CausalLM>(of_width(24, 67), at::kCPU, at::kFloat, 2),
                            large = std::make_shared<CausalLM>(of_width(48, 70), at::kCPU, at::kFloat, 3);
  Batch host = two_sequences();
  DeviceBatch batch = upload(host, at::kCPU);
  ModelOutput output;

  Scene() {
    student.set_requires_grad(true);
    small->set_requires_grad(false);
    large->set_requires_grad(false);
    output = student.forward(batch, {}, {.targets_only = true});
  }
  // log p over the shared 67 tokens at the targets, fp64 [T, 67].
  at::Tensor log_p(const CausalLM& model) const {
    const at::NoGradGuard no_grad;
    const ModelOutput out = model.forward(batch, {}, {.targets_only = true});
    return out.hidden.to(at::kDouble)
        .mm(model.head_weight().detach().to(at::kDouble).narrow(0, 0, 67).t())
        .log_softmax(1);
  }
  StepView view(const Teachers& teachers, const TeacherOutputs& outputs) const {
    StepView view{.batch = batch, .student = student, .student_output = output};
    teachers.fill(view, outputs);
    return view;
  }
};

// τ² KL(p_T^τ ‖ p_S^τ) summed with weights, and its gradient, in double.
void expect_forward_kl(const Scene& scene, const Teachers& teachers, const at::Tensor& log_teacher) {
  const double tau = 2;
  const TeacherOutputs outputs = teachers.look(scene.batch, {}, scene.student, scene.output);
  Objective objective = make_objective(
      parse_json(R"([{"name": "forward_kl", "temperature": 2}, {"name": "cross_entropy", "weight": 0.5}])",
                 "t"),
      "terms");
  const ObjectiveResult got = objective.compute(scene.view(teachers, outputs));
  const auto gradient_of = [&](const at::Tensor& total) {
    return torch::autograd::grad({total}, {scene.output.hidden}, {}, /*retain_graph=*/true)[0];
  };
  const at::Tensor z =
      scene.output.hidden.to(at::kDouble).mm(scene.student.head_weight().detach().to(at::kDouble).t());
  const at::Tensor log_t = (log_teacher / tau).log_softmax(1), log_s = (z / tau).log_softmax(1);
  const at::Tensor kl = (log_t.exp() * (log_t - log_s)).sum(1) * (tau * tau);
  const at::Tensor ce = -z.log_softmax(1).gather(1, scene.batch.labels.unsqueeze(1)).squeeze(1);
  const at::Tensor expected = (scene.batch.weights.to(at::kDouble) * (kl + 0.5 * ce)).sum();
  EXPECT_NEAR(got.total.sum.item<double>() / expected.item<double>(), 1, 1e-6);
  const at::Tensor found = gradient_of(got.total.sum), wanted = gradient_of(expected);
  EXPECT_LT((found - wanted).abs().max().item<double>(), 5e-6 * wanted.abs().max().item<double>());
}

TEST(Teachers, MixTheirDistributionsByFixedWeights) {
  const Scene scene;
  const Teachers teachers(
      {{.model = scene.small, .weights = {0.6}}, {.model = scene.large, .weights = {1.8}}});
  const at::Tensor mixed =
      (0.25 * scene.log_p(*scene.small).exp() + 0.75 * scene.log_p(*scene.large).exp()).log();
  expect_forward_kl(scene, teachers, mixed);
  // What controls and logs look at is the same mixture.
  const TeacherOutputs outputs = teachers.look(scene.batch, {}, scene.student, scene.output);
  const at::Tensor places = at::tensor({1, 4, 9}, at::kLong);
  EXPECT_TRUE(at::allclose(teachers.logits(scene.batch, outputs, places).to(at::kDouble),
                           mixed.index_select(0, places), 0, 1e-5));
}

TEST(Teachers, CountMoreWhereTheyKnowTheLabelOrAreSure) {
  const Scene scene;
  const at::Tensor a = scene.log_p(*scene.small), b = scene.log_p(*scene.large);
  const at::Tensor labels = scene.batch.labels.unsqueeze(1);
  const auto mixed = [&](const at::Tensor& u, const at::Tensor& v) {
    return ((0.3 * u * a.exp() + 0.7 * v * b.exp()) / (0.3 * u + 0.7 * v)).log();
  };
  const auto teachers = [&](TeacherChoice choice) {
    return Teachers({{.model = scene.small, .weights = {0.3}}, {.model = scene.large, .weights = {0.7}}},
                    choice);
  };
  expect_forward_kl(scene, teachers(TeacherChoice::confidence),
                    mixed(a.gather(1, labels).exp(), b.gather(1, labels).exp()));
  const auto sureness = [](const at::Tensor& log_p) {
    return (log_p.exp() * log_p).sum(1, /*keepdim=*/true).exp();
  };
  expect_forward_kl(scene, teachers(TeacherChoice::entropy), mixed(sureness(a), sureness(b)));
}

TEST(Teachers, WeighByTheFileThatTheTextIsFrom) {
  const Scene scene;
  const Teachers teachers(
      {{.model = scene.small, .weights = {1, 0}}, {.model = scene.large, .weights = {0, 1}}});
  at::Tensor expected = scene.log_p(*scene.small).clone();
  expected.slice(0, 7).copy_(scene.log_p(*scene.large).slice(0, 7));  // the second sequence's six targets
  expect_forward_kl(scene, teachers, expected);
}

TEST(Teachers, AreChosenByHowHardASequenceIs) {
  const Scene scene;
  at::Tensor expected = scene.log_p(*scene.small).clone();
  expected.slice(0, 7).copy_(scene.log_p(*scene.large).slice(0, 7));
  const auto teachers = [&](TeacherChoice choice, double up_to) {
    return Teachers({{.model = scene.small, .up_to = up_to}, {.model = scene.large}}, choice);
  };
  expect_forward_kl(scene, teachers(TeacherChoice::prompt_length, 3), expected);
  expect_forward_kl(scene, teachers(TeacherChoice::prompt_length, 2.9), scene.log_p(*scene.large));
  expect_forward_kl(scene, teachers(TeacherChoice::prompt_length, 8), scene.log_p(*scene.small));
  // The student's own mean loss on each sequence decides.
  const at::Tensor z = scene.output.hidden.detach().mm(scene.student.head_weight().detach().t());
  const at::Tensor losses = -z.log_softmax(1).gather(1, scene.batch.labels.unsqueeze(1)).squeeze(1);
  const double first = losses.slice(0, 0, 7).mean().item<double>(),
               second = losses.slice(0, 7).mean().item<double>();
  ASSERT_GT(std::abs(first - second), 1e-2);
  at::Tensor by_loss = scene.log_p(first < second ? *scene.small : *scene.large).clone();
  by_loss.slice(0, 7).copy_(scene.log_p(first < second ? *scene.large : *scene.small).slice(0, 7));
  expect_forward_kl(scene, teachers(TeacherChoice::student_loss, (first + second) / 2), by_loss);
}

TEST(Teachers, AverageTheStudentAndKeepItInAState) {
  CausalLM student(tiny_llama(), at::kCPU, at::kFloat, 1);
  const auto copy = [] { return std::make_shared<CausalLM>(tiny_llama(), at::kCPU, at::kFloat, 1); };
  Teachers teachers({{.model = copy(), .average = 0.9}});
  at::Tensor expected = student.parameters()[1].tensor.detach().to(at::kDouble);
  for (int step = 0; step < 5; ++step) {
    const at::NoGradGuard no_grad;
    for (const Parameter& p : student.parameters()) p.tensor.add_(0.01 * (step + 1));
    teachers.follow(student);
    expected = 0.9 * expected + 0.1 * student.parameters()[1].tensor.to(at::kDouble);
  }
  const at::Tensor average = teachers.first().parameters()[1].tensor;
  EXPECT_LT((average.to(at::kDouble) - expected).abs().max().item<double>(), 1e-6);

  Teachers fresh({{.model = copy(), .average = 0.9}});
  const auto state = teachers.state();
  fresh.restore([&](const std::string& name) {
    for (const auto& [key, tensor] : state)
      if (key == name) return tensor;
    throw std::runtime_error(name);
  });
  EXPECT_TRUE(at::equal(fresh.first().parameters()[1].tensor, average));
}

}  // namespace
}  // namespace retort
