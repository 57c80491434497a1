#include "model/adapters/adapter.h"

#include "base/error.h"
#include "model/torch_language_model.h"
#include "unit/model/compare.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

// A prefix that decides answers.
std::shared_ptr<CausalLM> prefixed(const ModelConfig& config) {
  auto model = std::make_shared<CausalLM>(config, at::kCPU, at::kFloat, 3);
  add_adapter(*model, {.kind = AdapterConfig::Kind::prefix, .virtual_tokens = 5}, 1);
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  for (const at::Tensor& layer : model->prefix()) layer.normal_();
  return model;
}

// The likeliest continuation by running the whole sequence again for each token.
std::vector<TokenId> answer_without_cache(const CausalLM& model, std::vector<TokenId> tokens, int count) {
  const at::NoGradGuard no_grad;
  std::vector<TokenId> answer;
  for (int i = 0; i < count; ++i) {
    const Batch batch = make_batch({tokens});
    const at::Tensor hidden = model.forward(upload(batch, at::kCPU)).hidden;
    answer.push_back(
        static_cast<TokenId>(model.logits(hidden[-1].unsqueeze(0)).argmax().item<std::int64_t>()));
    tokens.push_back(answer.back());
  }
  return answer;
}

TEST(Adapters, GenerationSeesThePrefix) {
  for (const ModelConfig& config : {tiny_llama(), tiny_gpt2()}) {
    const auto model = prefixed(config);
    std::vector<Sequence> prompts;
    for (int i = 0; i < 3; ++i) prompts.push_back({random_tokens(3 + 5 * i, 7 + i), ""});
    std::vector<std::vector<TokenId>> answers(prompts.size());
    GenerateOptions options;
    options.max_tokens = 9;
    as_language_model(model)->generate(prompts, options, [&](std::size_t i, TokenId token, float) {
      answers[i].push_back(token);
      return true;
    });
    for (std::size_t i = 0; i < prompts.size(); ++i)
      EXPECT_EQ(answers[i], answer_without_cache(*model, prompts[i].tokens, 9)) << config.model_type;
  }
}

TEST(Adapters, PrefixTakesRoomInTheContext) {
  const auto model = prefixed(tiny_gpt2());
  const auto language_model = as_language_model(model);
  const Sequence fits{random_tokens(91, 1), ""}, too_long{random_tokens(92, 1), ""};
  EXPECT_EQ(language_model->score(std::span(&fits, 1))[0].logprobs.size(), 90);
  EXPECT_THROW(language_model->score(std::span(&too_long, 1)), Error);
}

TEST(Adapters, NewLoraChangesNothingAndIsAllThatLearns) {
  CausalLM plain(tiny_llama(), at::kCPU, at::kFloat, 3), model(tiny_llama(), at::kCPU, at::kFloat, 3);
  add_adapter(model, {.rank = 2, .dropout = 0.5, .dora = true, .targets = {"q_proj", "down_proj"}}, 1);
  const Step a = run_step(plain, {}), b = run_step(model, {});
  EXPECT_LE(largest_difference(a.loss, b.loss), 1e-6);
  std::size_t trained = 0;
  for (std::size_t i = 0; i < model.parameters().size(); ++i) {
    EXPECT_EQ(b.gradients[i].defined(), i >= plain.parameters().size()) << model.parameters()[i].name;
    trained += b.gradients[i].defined();
  }
  EXPECT_EQ(trained, 2 * 3 * 3);
}

TEST(Adapters, DropoutIsAFunctionOfItsKey) {
  CausalLM model(tiny_llama(), at::kCPU, at::kFloat, 3);
  add_adapter(model, {.rank = 2, .dropout = 0.5, .targets = {"all-linear"}}, 1);
  {
    const at::NoGradGuard no_grad;
    for (const Parameter& parameter : model.parameters())
      if (parameter.name.find("lora_B") != std::string::npos) parameter.tensor.fill_(0.1);
  }
  const auto loss = [&](std::uint64_t key, bool checkpoint) {
    return run_step(model, {.training = true, .dropout_key = key, .checkpoint_activations = checkpoint});
  };
  const Step once = loss(1, false), again = loss(1, true);
  EXPECT_EQ(once.loss.item<float>(), again.loss.item<float>());
  for (std::size_t i = 0; i < once.gradients.size(); ++i)
    if (once.gradients[i].defined()) {
      EXPECT_TRUE(once.gradients[i].equal(again.gradients[i])) << model.parameters()[i].name;
    }
  EXPECT_NE(once.loss.item<float>(), loss(2, false).loss.item<float>());
}

TEST(Adapters, FrozenPartOfAGroupGetsNoGradient) {
  CausalLM whole(tiny_gpt2(), at::kCPU, at::kFloat, 3), part(tiny_gpt2(), at::kCPU, at::kFloat, 3);
  freeze(part, {"k_proj", "model.layers.1.*"});
  const Step a = run_step(whole, {}), b = run_step(part, {});
  for (std::size_t i = 0; i < part.parameters().size(); ++i) {
    const std::string& name = part.parameters()[i].name;
    const bool frozen = name.find("k_proj") != std::string::npos || name.starts_with("model.layers.1.");
    EXPECT_EQ(b.gradients[i].defined(), !frozen) << name;
    if (!frozen) {
      EXPECT_LE(largest_difference(a.gradients[i], b.gradients[i]), 1e-5) << name;
    }
  }
  EXPECT_THROW(freeze(part, {"nothing"}), Error);
}

}  // namespace
}  // namespace retort
