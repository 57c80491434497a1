#include "model/torch_language_model.h"

#include <map>

#include "base/error.h"
#include "unit/model/compare.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

GenerateOptions up_to(std::int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  return options;
}

using Answers = std::map<std::size_t, std::vector<TokenId>>;

Answers generate(LanguageModel& model, const std::vector<Sequence>& prompts, const GenerateOptions& options) {
  Answers answers;
  for (std::size_t i = 0; i < prompts.size(); ++i) answers[i];
  model.generate(prompts, options, [&](std::size_t prompt, TokenId token, float logprob) {
    EXPECT_LE(logprob, 0);
    answers[prompt].push_back(token);
    return true;
  });
  return answers;
}

std::vector<Sequence> some_prompts(std::size_t count) {
  std::vector<Sequence> prompts;
  for (std::size_t i = 0; i < count; ++i)
    prompts.push_back({random_tokens(1 + static_cast<int>(i * 7 % 23), i), ""});
  return prompts;
}

// The likeliest continuation by running the whole sequence again for each token.
std::vector<TokenId> greedy_without_cache(const CausalLM& model, std::vector<TokenId> tokens, int count,
                                          const std::vector<TokenId>& ends) {
  const at::NoGradGuard no_grad;
  std::vector<TokenId> answer;
  while (static_cast<int>(answer.size()) < count &&
         static_cast<std::int64_t>(tokens.size()) < model.config().max_position_embeddings) {
    const Batch batch = make_batch({tokens});
    const at::Tensor hidden = model.forward(upload(batch, at::kCPU)).hidden;
    const auto token =
        static_cast<TokenId>(model.logits(hidden[-1].unsqueeze(0)).argmax().item<std::int64_t>());
    if (std::find(ends.begin(), ends.end(), token) != ends.end()) break;
    tokens.push_back(token);
    answer.push_back(token);
  }
  return answer;
}

class Engine : public testing::TestWithParam<ModelConfig> {
 protected:
  std::shared_ptr<CausalLM> causal = std::make_shared<CausalLM>(GetParam(), at::kCPU, at::kFloat, 3);
  std::unique_ptr<LanguageModel> model = as_language_model(causal, 64);
};
INSTANTIATE_TEST_SUITE_P(Shapes, Engine, testing::Values(tiny_llama(), tiny_gpt2(), tiny_mixed()),
                         [](const auto& info) { return info.param.model_type; });

TEST_P(Engine, GreedyEqualsRunningWithoutACache) {
  const std::vector<Sequence> prompts = some_prompts(70);  // more than the slots: some wait
  GenerateOptions options = up_to(12);
  options.end_tokens = {5, 6, 7, 8};
  const Answers answers = generate(*model, prompts, options);
  std::size_t ended = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(answers.at(i), greedy_without_cache(*causal, prompts[i].tokens, 12, options.end_tokens)) << i;
    ended += answers.at(i).size() < 12;
  }
  EXPECT_GT(ended, 0u);
}

TEST_P(Engine, AnswersEndWithTheContext) {
  const std::vector<Sequence> prompts{
      {random_tokens(60, 1), ""}, {random_tokens(96, 2), ""}, {random_tokens(95, 3), ""}};
  const Answers answers = generate(*model, prompts, up_to(50));
  EXPECT_EQ(answers.at(0), greedy_without_cache(*causal, prompts[0].tokens, 50, {}));
  EXPECT_EQ(answers.at(0).size(), 36u);
  EXPECT_EQ(answers.at(1).size(), 0u);
  EXPECT_EQ(answers.at(2).size(), 1u);
}

TEST_P(Engine, OtherPathEqualsTheKernels) {
  // fp64 has no kernels: caches and masks through ATen.
  auto wide = as_language_model(std::make_shared<CausalLM>(GetParam(), at::kCPU, at::kDouble, 3));
  const std::vector<Sequence> prompts = some_prompts(12);
  EXPECT_EQ(generate(*wide, prompts, up_to(30)), generate(*model, prompts, up_to(30)));
}

TEST_P(Engine, SampledAnswersDoNotDependOnTheirNeighbours) {
  GenerateOptions options = up_to(12);
  options.temperature = 0.8;
  options.seed = 4;
  std::vector<Sequence> prompts = some_prompts(9);
  const Answers all = generate(*model, prompts, options);
  // The same prompt at the same index beside shorter ones.
  for (std::size_t i = 0; i < 8; ++i) prompts[i].tokens = {1};
  EXPECT_EQ(generate(*model, prompts, options).at(8), all.at(8));
  options.seed = 5;
  EXPECT_NE(generate(*model, prompts, options).at(8), all.at(8));
}

TEST_P(Engine, ScoresAreLogSoftmax) {
  const std::vector<Sequence> sequences{{random_tokens(30, 1), ""}, {{3}, ""}, {random_tokens(50, 2), ""}};
  const std::vector<Scores> scores =
      model->score(sequences, {.entropy = true, .top_k = 3, .attention_layers = {2, 0}});
  ASSERT_EQ(scores.size(), 3);
  const at::NoGradGuard no_grad;
  for (std::size_t s = 0; s < 3; ++s) {
    const Batch batch = make_batch({sequences[s].tokens});
    const ModelOutput output = causal->forward(upload(batch, at::kCPU), {{}, {2}});
    const at::Tensor logp = causal->logits(output.hidden).log_softmax(1);
    const std::size_t n = sequences[s].tokens.size();
    ASSERT_EQ(scores[s].logprobs.size(), n - 1);
    for (std::size_t i = 0; i + 1 < n; ++i) {
      const at::Tensor row = logp[static_cast<std::int64_t>(i)];
      EXPECT_NEAR(scores[s].logprobs[i], row[sequences[s].tokens[i + 1]].item<float>(), 1e-4);
      EXPECT_NEAR(scores[s].entropy[i], -(row.exp() * row).sum().item<float>(), 1e-4);
      ASSERT_EQ(scores[s].top[i].size(), 3);
      EXPECT_EQ(scores[s].top[i][0].token, row.argmax().item<std::int64_t>());
      EXPECT_NEAR(scores[s].top[i][0].logprob, row.max().item<float>(), 1e-4);
    }
    ASSERT_EQ(scores[s].attention.size(), 2);
    const at::Tensor map = output.attention_taps.at(2)[0].contiguous();
    ASSERT_EQ(scores[s].attention[0].size(), static_cast<std::size_t>(map.numel()));
    EXPECT_NEAR(scores[s].attention[0].back(), map.data_ptr<float>()[map.numel() - 1], 1e-5);
  }
}

TEST_P(Engine, CallbackEndsItsOwnSequenceOnly) {
  const std::vector<Sequence> prompts = some_prompts(5);
  const Answers full = generate(*model, prompts, up_to(10));
  Answers answers;
  model->generate(prompts, up_to(10), [&](std::size_t prompt, TokenId token, float) {
    answers[prompt].push_back(token);
    return prompt != 2 || answers[prompt].size() < 3;
  });
  for (std::size_t i = 0; i < 5; ++i) {
    std::vector<TokenId> expected = full.at(i);
    if (i == 2) expected.resize(3);
    EXPECT_EQ(answers[i], expected);
  }
}

TEST_P(Engine, WrongSequencesAreErrors) {
  EXPECT_THROW(model->score(std::vector<Sequence>{{{}, ""}}), Error);
  EXPECT_THROW(model->score(std::vector<Sequence>{{{67}, ""}}), Error);
  EXPECT_THROW(model->score(std::vector<Sequence>{{random_tokens(97, 1), ""}}), Error);
  EXPECT_THROW(generate(*model, {{{1}, "other"}}, {}), Error);
}

}  // namespace
}  // namespace retort
