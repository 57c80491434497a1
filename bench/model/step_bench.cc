// Training and scoring speed of typical small models, and of the parts a step is made of. Tokens per second
// stand in items_per_second; `packed40` is sequences of 40 tokens (translation pairs), `packed256` longer
// text.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "base/machine.h"
#include "model/blocks/mlp.h"
#include "model/causal_lm.h"
#include "model/kernels/cpu_kernels.h"

namespace retort {
namespace {

ModelConfig typical(std::int64_t layers) {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 8192;
  config.hidden_size = 512;
  config.head_dim = 64;
  config.max_position_embeddings = 512;
  config.layers.assign(
      layers,
      {.num_attention_heads = 8, .num_key_value_heads = 4, .intermediate_size = 1536, .sliding_window = 0});
  config.tie_word_embeddings = true;
  return config;
}
constexpr std::int64_t kTeacherLayers = 7, kStudentLayers = 4;

Batch packed(std::int64_t tokens, std::int64_t length) {
  Batch batch;
  for (std::int64_t i = 0; i < tokens; ++i) {
    batch.tokens.push_back(static_cast<TokenId>(i * 7919 % 8192));
    batch.targets.push_back(static_cast<TokenId>((i + 1) * 7919 % 8192));
    batch.weights.push_back(1);
    batch.positions.push_back(static_cast<std::int32_t>(i % length));
    if ((i + 1) % length == 0 || i + 1 == tokens) {
      batch.sequence_starts.push_back(static_cast<std::int32_t>(i + 1));
      batch.example_ids.push_back(0);
      batch.sources.push_back(0);
    }
  }
  return batch;
}

at::ScalarType fast_type() { return machine().fast_bf16() ? at::kBFloat16 : at::kFloat; }

void forward(benchmark::State& state, std::int64_t layers, std::int64_t length) {
  CausalLM model(typical(layers), at::kCPU, fast_type(), 1);
  model.set_requires_grad(false);
  const Batch batch = packed(2048, length);
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  for (auto _ : state) benchmark::DoNotOptimize(model.forward(device_batch).hidden);
  state.SetItemsProcessed(state.iterations() * 2048);
}

// Without head and loss: those are the objective's.
void forward_backward(benchmark::State& state, std::int64_t layers, std::int64_t length, bool checkpoint) {
  CausalLM model(typical(layers), at::kCPU, fast_type(), 1);
  const Batch batch = packed(2048, length);
  const DeviceBatch device_batch = upload(batch, at::kCPU);
  const at::Tensor gradient = at::randn({2048, 512}).to(fast_type());
  for (auto _ : state) {
    model.forward(device_batch, {}, {.training = true, .checkpoint_activations = checkpoint})
        .hidden.backward(gradient);
    for (const Parameter& p : model.parameters()) at::Tensor(p.tensor).mutable_grad() = at::Tensor();
  }
  state.SetItemsProcessed(state.iterations() * 2048);
}

// The same step through ATen's own operators would be: the matrix products alone, forward and backward, of
// one block.
void products(benchmark::State& state, bool backward) {
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes{
      {512, 1024}, {512, 512}, {512, 3072}, {1536, 512}};
  std::vector<at::Tensor> x, w, y;
  for (const auto& [in, out] : shapes) {
    x.push_back(at::randn({2048, in}).to(fast_type()));
    w.push_back(at::randn({out, in}).to(fast_type()));
    y.push_back(at::randn({2048, out}).to(fast_type()));
  }
  for (auto _ : state)
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      benchmark::DoNotOptimize(at::linear(x[i], w[i]));
      if (!backward) continue;
      benchmark::DoNotOptimize(at::mm(y[i], w[i]));
      benchmark::DoNotOptimize(at::mm(y[i].t(), x[i]));
    }
  state.SetItemsProcessed(state.iterations() * 2048);
}

// One part, forward and backward.
void part(benchmark::State& state, const std::function<at::Tensor(const at::Tensor&)>& run,
          std::int64_t width) {
  const at::Tensor x = at::randn({2048, width}).to(fast_type()).requires_grad_();
  const at::Tensor gradient = at::ones_like(run(x * 1).detach());
  for (auto _ : state) run(x * 1).backward(gradient);
  state.SetItemsProcessed(state.iterations() * 2048);
}

at::Tensor attend(const at::Tensor& qkv, std::int64_t length) {
  static std::map<std::int64_t, PackedAttention> paths;
  if (!paths.contains(length)) {
    const Batch batch = packed(2048, length);
    const DeviceBatch device_batch = upload(batch, at::kCPU);
    paths.emplace(
        length, PackedAttention(device_batch.packing(), rotation_at(at::rand({32}), device_batch.positions)));
  }
  return paths.at(length).attend(qkv, {0, {8, 4, 64}, 0});
}

BENCHMARK_CAPTURE(forward, teacher28m_packed40, kTeacherLayers, 40)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward, teacher28m_packed256, kTeacherLayers, 256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward_backward, student18m_packed40, kStudentLayers, 40, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward_backward, student18m_packed256, kStudentLayers, 256, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward_backward, student18m_packed40_checkpointed, kStudentLayers, 40, true)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(products, one_block_forward, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(products, one_block_forward_backward, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(
    part, norm,
    [](const at::Tensor& x) {
      static const at::Tensor weight = at::ones({512}).to(x.scalar_type()).requires_grad_();
      return add_norm(x, x, {weight, {}, 1e-6}).normed;
    },
    512)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(
    part, swiglu, [](const at::Tensor& x) { return activate(x, ActivationKind::silu, true); }, 3072)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(
    part, attention_packed40, [](const at::Tensor& x) { return attend(x, 40); }, 1024)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(
    part, attention_packed256, [](const at::Tensor& x) { return attend(x, 256); }, 1024)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(
    part, copy, [](const at::Tensor& x) { return x; }, 1024)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  benchmark::AddCustomContext("kernels", retort::cpu_kernels_name());
  benchmark::AddCustomContext("element type", c10::toString(retort::fast_type()));
  benchmark::AddCustomContext("threads", std::to_string(at::get_num_threads()));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
