// Adapters over an encoded base learn what they learn over the decoded one.
#include <gtest/gtest.h>

#include "model/adapters/adapter.h"
#include "model/blocks/encoded_weight.h"
#include "model/transformer.h"
#include "support/temporary_folder.h"
#include "training/trainer.h"
#include "unit/model/tiny_model.h"

namespace retort {
namespace {

// Widths that every encoding's blocks divide.
ModelConfig wide_llama() {
  ModelConfig config = tiny_llama();
  config.hidden_size = 256;
  config.head_dim = 64;
  config.layers.resize(2);
  for (LayerConfig& layer : config.layers) layer.intermediate_size = 256;
  config.hf_config = {{"initializer_range", 0.05}};
  return config;
}

class CountedBatches3 : public BatchSource {
 public:
  std::optional<Batch> next() override {
    const std::uint64_t place = place_++ % 3;
    return make_batch({random_tokens(13, 2 * place), random_tokens(7, 2 * place + 1)});
  }
  Json state() const override { return place_; }
  void restore(const Json& state) override { place_ = state.get<std::uint64_t>(); }

 private:
  std::uint64_t place_ = 0;
};

class Losses : public MetricsSink {
 public:
  explicit Losses(std::vector<double>& values) : values_(values) {}
  void write(std::int64_t, const std::vector<Metric>& metrics) override {
    for (const auto& [name, value] : metrics)
      if (name == "train/loss") values_.push_back(value);
  }

 private:
  std::vector<double>& values_;
};

std::vector<double> train(CausalLM& model, const AdapterConfig& adapter, bool checkpoint_activations) {
  add_adapter(model, adapter, 4);
  TrainerOptions options;
  options.steps = 10;
  options.learning_rate = 1e-2;
  options.log_every = 1;
  options.save_seconds = 0;
  options.checkpoint_activations = checkpoint_activations;
  std::vector<double> losses;
  TrainerCallbacks callbacks;
  callbacks.open_sinks = [&](std::int64_t) {
    std::vector<std::unique_ptr<MetricsSink>> sinks;
    sinks.push_back(std::make_unique<Losses>(losses));
    return sinks;
  };
  CountedBatches3 source;
  Objective objective = make_objective(Json::parse(R"([{"name": "cross_entropy"}])"), "terms");
  const TemporaryFolder folder;
  Trainer(options, folder.path(), "a").run(model, nullptr, source, objective, callbacks);
  return losses;
}

TEST(FrozenBase, LearnsAsOverTheDecodedBase) {
  const TemporaryFolder folder;
  {
    SaveModelOptions save;
    save.dtype = DType::f32;
    save_causal_lm(CausalLM(wide_llama(), at::kCPU, at::kFloat, 5), folder / "base", save);
  }
  const ModelFolder base(folder / "base");
  const AdapterConfig lora{
      .rank = 4, .alpha = 8, .dropout = 0.1, .targets = {"q_proj", "v_proj", "down_proj"}},
      dora{.rank = 4, .alpha = 8, .dora = true, .targets = {"o_proj", "up_proj"}},
      hybrid{.rank = 4,
             .alpha = 8,
             .targets = {"down_proj", "up_proj"},
             .trained = {"q_proj", "k_proj", "v_proj", "o_proj"}},
      prefix{.kind = AdapterConfig::Kind::prefix, .virtual_tokens = 5};
  for (const char* name : {"i8_channel", "f8_channel", "q8_0", "q4_0", "q4_k"})
    for (const AdapterConfig& adapter : {lora, dora, hybrid, prefix}) {
      // All methods over one of them.
      if (name != std::string("q8_0") && adapter.targets != lora.targets) continue;
      FrozenBase frozen{&find_weight_encoding(name, "test"), {}};
      for (const LinearModule& module : match_modules(linear_modules(base.config()), adapter.trained, "test"))
        frozen.whole.insert(frozen.whole.end(), module.parameters.begin(), module.parameters.end());
      CausalLM encoded(base, at::kCPU, at::kFloat, frozen), decoded(base, at::kCPU, at::kFloat);
      std::int64_t kept = 0;
      for (std::size_t i = 0; i < encoded.parameters().size(); ++i) {
        const Parameter& parameter = encoded.parameters()[i];
        if (!parameter.tensor.is_meta()) continue;
        ++kept;
        const auto [linear, row] = encoded.parts().find_linear(parameter.name);
        const at::NoGradGuard no_grad;
        decoded.parameters()[i].tensor.detach().copy_(linear->rows(row, parameter.tensor.size(0)));
      }
      EXPECT_EQ(kept, 2 * (adapter.trained.empty() ? 7 : 3)) << name;
      const std::vector<double> expected = train(decoded, adapter, false),
                                found = train(encoded, adapter, name[0] == 'i');
      ASSERT_EQ(found.size(), 10u);
      EXPECT_LT(expected[9], expected[0] - 0.02) << name << ": nothing was learned";
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_NEAR(found[i], expected[i], 1e-4) << name << " step " << i;
    }
}

}  // namespace
}  // namespace retort
