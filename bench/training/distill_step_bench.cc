// Tokens per second of whole distillation steps (teacher forward, student forward and backward, fused losses,
// AdamW) on random tokens: what bench/training/distill_vs_torch.py compares with PyTorch.
//   distill_step_bench TEACHER STUDENT [steps] [sequences] [length]
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/error.h"
#include "base/machine.h"
#include "model/jemalloc_options.h"
#include "training/trainer.h"

namespace retort {
namespace {

constexpr double kTargetShare = 0.55;  // of positions that have a loss: the prompt is the rest

// Endless batches of `sequences` × `length` random tokens; the last 55 % of each sequence is its answer.
class RandomBatches : public BatchSource {
 public:
  RandomBatches(std::int64_t sequences, std::int64_t length, std::int64_t vocab)
      : sequences_(sequences), length_(length), tokens_(0, static_cast<TokenId>(vocab - 1)) {}

  std::optional<Batch> next() override {
    Batch batch;
    const auto prompt = static_cast<std::int64_t>(static_cast<double>(length_) * (1 - kTargetShare));
    for (std::int64_t s = 0; s < sequences_; ++s) {
      Example example;
      for (std::int64_t i = 0; i < length_; ++i) {
        example.tokens.push_back(tokens_(random_));
        example.is_target.push_back(i >= prompt);
      }
      batch.append(example);
    }
    return batch;
  }
  Json state() const override { return {}; }
  void restore(const Json&) override {}

 private:
  std::int64_t sequences_, length_;
  std::uniform_int_distribution<TokenId> tokens_;
  std::mt19937 random_{1};
};

int run(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: distill_step_bench TEACHER STUDENT [steps] [sequences] [length]\n");
    return 2;
  }
  const auto number = [&](int index, std::int64_t otherwise) {
    return argc > index ? std::atoll(argv[index]) : otherwise;
  };
  const std::int64_t steps = number(3, 10), sequences = number(4, 8), length = number(5, 256);
  const at::ScalarType dtype = machine().fast_bf16() ? at::kBFloat16 : at::kFloat;
  at::set_num_threads(static_cast<int>(machine().threads));
  CausalLM teacher(ModelFolder(argv[1]), at::kCPU, dtype);
  CausalLM student(ModelFolder(argv[2]), at::kCPU, dtype);
  teacher.set_requires_grad(false);
  RandomBatches source(sequences, length, student.config().vocab_size);
  Objective objective = make_objective(
      Json::parse(R"([{"name": "forward_kl", "weight": 0.9}, {"name": "cross_entropy", "weight": 0.1}])"),
      "terms", {.student = &student.config(), .teacher = &teacher.config()});
  TrainerOptions options;
  options.steps = steps + 1;
  options.save_seconds = 0;
  options.log_every = options.steps + 1;
  Trainer trainer(options, std::filesystem::temp_directory_path(), "");
  // The first step allocates and tunes: it is not counted.
  std::chrono::steady_clock::time_point start;
  TrainerCallbacks callbacks;
  callbacks.progress = [&](std::int64_t step, std::int64_t, const std::string&) {
    if (step == 1) start = std::chrono::steady_clock::now();
  };
  trainer.run(student, &teacher, source, objective, callbacks);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{{\"tokens_per_second\": {:.1f}, \"precision\": \"{}\", \"threads\": {}}}\n",
             static_cast<double>(steps * sequences * length) / seconds, dtype == at::kFloat ? "fp32" : "bf16",
             at::get_num_threads());
  return 0;
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  try {
    return retort::run(argc, argv);
  } catch (const retort::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
