// Two tiny models and a batch of three examples.
#pragma once

#include "model/causal_lm.h"
#include "objective/term.h"

namespace retort {

inline ModelConfig tiny_config(std::int64_t hidden_size, std::int64_t vocab_size, std::int64_t layers = 2,
                               std::int64_t heads = 4) {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = vocab_size;
  config.hidden_size = hidden_size;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.layers.assign(
      static_cast<std::size_t>(layers),
      {.num_attention_heads = heads, .num_key_value_heads = 2, .intermediate_size = 40, .sliding_window = 0});
  config.hf_config = {{"initializer_range", 0.3}};
  return config;
}

// Three examples of different lengths, prompts without targets, weights that differ.
inline std::vector<Example> make_examples() {
  std::vector<Example> examples;
  std::uint64_t state = 1;
  for (const std::uint64_t id : {17, 4, 99}) {
    Example example;
    const std::size_t length = 6 + 3 * (id % 5);
    for (std::size_t i = 0; i < length; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      example.tokens.push_back(static_cast<TokenId>((state >> 33) % 61));
      example.is_target.push_back(i >= 3);
    }
    example.id = id;
    example.weight = 0.5f + static_cast<float>(id % 3);
    examples.push_back(std::move(example));
  }
  return examples;
}

inline Batch make_batch() {
  Batch batch;
  for (const Example& example : make_examples()) batch.append(example);
  return batch;
}

struct Models {
  CausalLM student{tiny_config(32, 64), at::kCPU, at::kFloat, 1};
  CausalLM teacher{tiny_config(48, 70), at::kCPU, at::kFloat, 2};
  Batch host = make_batch();
  DeviceBatch batch = upload(host, at::kCPU);
  ModelOutput student_output, teacher_output;

  Models() { student.set_requires_grad(true); }

  StepView view(const Taps& student_taps = {}, const Taps& teacher_taps = {}) {
    {
      const at::NoGradGuard no_grad;
      teacher_output = teacher.forward(batch, teacher_taps);
    }
    student_output = student.forward(batch, student_taps);
    return {.batch = batch,
            .student = student,
            .student_output = student_output,
            .teacher = &teacher,
            .teacher_output = &teacher_output};
  }
};

}  // namespace retort
