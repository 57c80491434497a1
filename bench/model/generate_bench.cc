// Scoring and generation of a typical small model (28 M parameters): tokens per second in items_per_second.
// What a judge of hundreds of sentences waits for.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "base/machine.h"
#include "base/random.h"
#include "model/kernels/cpu_kernels.h"
#include "model/torch_language_model.h"

namespace retort {
namespace {

std::unique_ptr<LanguageModel> typical() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 8192;
  config.hidden_size = 512;
  config.head_dim = 64;
  config.max_position_embeddings = 512;
  config.layers.assign(
      7,
      {.num_attention_heads = 8, .num_key_value_heads = 4, .intermediate_size = 1536, .sliding_window = 0});
  config.tie_word_embeddings = true;
  const at::ScalarType dtype = machine().fast_bf16() ? at::kBFloat16 : at::kFloat;
  return as_language_model(std::make_shared<CausalLM>(config, at::kCPU, dtype, 1));
}

std::vector<Sequence> sentences(std::int64_t count, std::int64_t length) {
  Random random(1);
  std::vector<Sequence> out(count);
  for (Sequence& sequence : out)
    for (std::uint64_t i = 0, n = length / 2 + random.below(length); i < n; ++i)
      sequence.tokens.push_back(static_cast<TokenId>(random.below(8192)));
  return out;
}

void generate(benchmark::State& state) {
  const auto model = typical();
  const auto prompts = sentences(state.range(0), 32);
  GenerateOptions options;
  options.max_tokens = 32;
  std::int64_t tokens = 0;
  for (auto _ : state)
    model->generate(prompts, options, [&](std::size_t, TokenId, float) { return ++tokens > 0; });
  state.SetItemsProcessed(tokens);
}

void score(benchmark::State& state) {
  const auto model = typical();
  const auto texts = sentences(state.range(0), 64);
  std::int64_t tokens = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(model->score(texts));
    for (const Sequence& text : texts) tokens += static_cast<std::int64_t>(text.tokens.size());
  }
  state.SetItemsProcessed(tokens);
}

BENCHMARK(generate)
    ->ArgName("prompts")
    ->Arg(1)
    ->Arg(8)
    ->Arg(64)
    ->Arg(256)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(score)->ArgName("texts")->Arg(1)->Arg(128)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  benchmark::AddCustomContext("kernels", retort::cpu_kernels_name());
  benchmark::AddCustomContext("threads", std::to_string(at::get_num_threads()));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
