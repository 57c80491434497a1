// What is recorded, and that learning from it is learning from the teacher.
#include "training/record_traces.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "data/trace_key.h"
#include "objective/objective.h"
#include "support/temporary_folder.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

TraceManifest tiny_manifest(std::int64_t top_k, std::int64_t samples, double temperature = 1) {
  return {.teacher = "t",
          .tokenizer = "k",
          .vocab_size = 67,
          .top_k = top_k,
          .samples = samples,
          .temperature = temperature,
          .seed = 3};
}

ExampleStore examples(std::uint64_t count) {
  ExampleStore store;
  for (std::uint64_t i = 0; i < count; ++i) {
    Example example;
    example.tokens = random_tokens(static_cast<std::int64_t>(6 + i % 9), i);
    example.is_target.assign(example.tokens.size(), 1);
    for (std::size_t t = 0; t < 2; ++t) example.is_target[t] = 0;
    example.id = i;
    store.add(example);
  }
  return store;
}

CausalLM tiny_teacher() {
  CausalLM model(tiny_llama(), at::kCPU, at::kFloat, 5);
  model.set_requires_grad(false);
  return model;
}

struct Learned {
  double value;
  at::Tensor gradient;  // of the head
};

Learned learn_once(CausalLM& student, const CausalLM* teacher, std::shared_ptr<const TraceStore> store,
                   const Batch& batch, double temperature) {
  Objective objective = make_objective(Json::array({{{"name", "forward_kl"}, {"temperature", temperature}}}),
                                       "terms", {.traces = std::move(store)});
  EXPECT_EQ(objective.needs_teacher(), teacher != nullptr);
  const DeviceBatch here = upload(batch, at::kCPU);
  ModelOutput teacher_output;
  if (teacher != nullptr) {
    const at::NoGradGuard no_grad;
    teacher_output = teacher->forward(here);
  }
  for (const Parameter& p : student.parameters()) at::Tensor(p.tensor).mutable_grad() = at::Tensor();
  const ModelOutput output = student.forward(here);
  const ObjectiveResult result =
      objective.compute({.batch = here,
                         .student = student,
                         .student_output = output,
                         .teacher = teacher,
                         .teacher_output = teacher != nullptr ? &teacher_output : nullptr});
  result.total.sum.backward();
  return {result.total.sum.item<double>(), student.head_weight().grad().clone()};
}

Batch batch_of(const ExampleStore& store) {
  Batch batch;
  for (std::int64_t i = 0; i < store.size(); ++i) batch.append(store.get(i));
  return batch;
}

// With every token kept, nothing but rounding stands between the two.
TEST(RecordTraces, AllTokensKeptIsTheTeacherItself) {
  const TemporaryFolder folder;
  const CausalLM teacher = tiny_teacher();
  CausalLM student(tiny_llama(), at::kCPU, at::kFloat, 6);
  student.set_requires_grad(true);
  const ExampleStore store = examples(12);
  for (const double tau : {1.0, 2.0}) {
    const auto path = folder / ("store" + std::to_string(tau));
    TraceWriter writer(path, tiny_manifest(67, 0, tau));
    EXPECT_EQ(
        record_traces(teacher, store, nullptr, tiny_manifest(67, 0, tau), writer, {.batch_tokens = 64}, {}),
        12);
    const Batch batch = batch_of(store);
    const Learned live = learn_once(student, &teacher, nullptr, batch, tau);
    const Learned traced = learn_once(student, nullptr, std::make_shared<TraceStore>(path), batch, tau);
    EXPECT_NEAR(traced.value / live.value, 1, 0.005);
    EXPECT_LT((traced.gradient - live.gradient).norm().item<double>(),
              0.005 * live.gradient.norm().item<double>());
  }
}

// Over many seeds the draws average to the full sum: no bias in value or gradient.
TEST(RecordTraces, DrawsAreUnbiased) {
  const TemporaryFolder folder;
  const CausalLM teacher = tiny_teacher();
  CausalLM student(tiny_llama(), at::kCPU, at::kFloat, 6);
  student.set_requires_grad(true);
  const ExampleStore store = examples(6);
  const Batch batch = batch_of(store);
  const Learned live = learn_once(student, &teacher, nullptr, batch, 1);
  double value = 0;
  at::Tensor gradient = at::zeros_like(live.gradient);
  constexpr int kSeeds = 200;
  for (int seed = 0; seed < kSeeds; ++seed) {
    TraceManifest manifest = tiny_manifest(3, 4);
    manifest.seed = seed;
    const auto path = folder / ("store" + std::to_string(seed));
    TraceWriter writer(path, manifest);
    record_traces(teacher, store, nullptr, manifest, writer, {.batch_tokens = 64}, {});
    const Learned one = learn_once(student, nullptr, std::make_shared<TraceStore>(path), batch, 1);
    value += one.value / kSeeds;
    gradient += one.gradient / kSeeds;
  }
  EXPECT_NEAR(value / live.value, 1, 0.01);
  EXPECT_LT((gradient - live.gradient).norm().item<double>(), 0.05 * live.gradient.norm().item<double>());
}

TEST(RecordTraces, RecordsWhatIsMissingAndNothingElse) {
  const TemporaryFolder folder;
  const CausalLM teacher = tiny_teacher();
  const TraceManifest manifest = tiny_manifest(4, 2);
  {
    TraceWriter writer(folder / "store", manifest);
    record_traces(teacher, examples(5), nullptr, manifest, writer, {.batch_tokens = 64}, {});
  }
  const TraceStore known(folder / "store");
  TraceRows before;
  known.read(trace_key(examples(5).get(2)), before);
  {
    TraceWriter writer(folder / "store", manifest);
    EXPECT_EQ(record_traces(teacher, examples(9), &known, manifest, writer, {.batch_tokens = 64}, {}), 4);
  }
  EXPECT_EQ(TraceStore(folder / "store").examples(), 9);
  // Recorded alone or among others, an example's trace is the same.
  TraceWriter writer(folder / "again", manifest);
  record_traces(teacher, examples(9), nullptr, manifest, writer, {.batch_tokens = 128}, {});
  TraceRows after;
  TraceStore(folder / "again").read(trace_key(examples(9).get(2)), after);
  EXPECT_EQ(before.ids, after.ids);
}

TEST(TraceKey, IsTheContentNotThePlace) {
  const ExampleStore store = examples(4);
  const Batch batch = batch_of(store);
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(trace_key(batch, i), trace_key(store.get(i)));
  Example edited = store.get(1);
  edited.tokens.back() ^= 1;
  EXPECT_NE(trace_key(edited), trace_key(store.get(1)));
  edited = store.get(1);
  edited.is_target[3] = 0;
  EXPECT_NE(trace_key(edited), trace_key(store.get(1)));
}

}  // namespace
}  // namespace retort
