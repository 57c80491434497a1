// The causal model for the parity test: `model_tool FOLDER REQUEST.json OUT` loads a model folder and writes
//   OUT/logits.safetensors   "logits" [Σ n, V] of the request's sequences, packed, and "loss", the mean cross
//                            entropy
//   OUT/gradients/           the gradients of that loss, as a model folder: under the family's own names and
//                            shapes
//   OUT/copy/                the model, saved again
//   OUT/answers.json         greedy answers to the request's prompts, generated together
#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "formats/safetensors.h"
#include "model/torch_language_model.h"
#include "unit/model/tiny_model.h"

namespace {

using namespace retort;

TensorView view_of(std::string name, const at::Tensor& tensor) {
  return {std::move(name), DType::f32, tensor.sizes().vec(),
          std::as_bytes(std::span(tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())))};
}

void run(const std::filesystem::path& folder, const Json& request, const std::filesystem::path& out) {
  const auto model = std::make_shared<CausalLM>(ModelFolder(folder), at::kCPU, at::kFloat);
  const Batch batch = make_batch(request.at("sequences").get<std::vector<std::vector<TokenId>>>());
  const DeviceBatch device_batch = upload(batch, at::kCPU);

  const ModelOutput output = model->forward(device_batch, {}, {.training = true});
  const at::Tensor loss = mean_cross_entropy(*model, device_batch, output);
  loss.backward();
  const at::Tensor logits = model->logits(output.hidden).detach().contiguous(), value = loss.detach();
  const std::vector<TensorView> views{view_of("logits", logits), view_of("loss", value)};
  write_safetensors(out / "logits.safetensors", views);

  const auto gradient = [&](const ParameterSpec& spec) {
    for (const Parameter& p : model->parameters())
      if (p.name == spec.name) {
        const at::Tensor grad = p.tensor.grad().contiguous();
        return std::vector<float>(grad.data_ptr<float>(), grad.data_ptr<float>() + grad.numel());
      }
    throw Error({.where = spec.name, .found = "no such parameter"});
  };
  SaveModelOptions save;
  save.dtype = DType::f32;
  save_model_folder(out / "gradients", model->config(), gradient, save);
  save_causal_lm(*model, out / "copy", save);

  std::vector<Sequence> prompts;
  for (const Json& prompt : request.at("prompts"))
    prompts.push_back({prompt.get<std::vector<TokenId>>(), ""});
  std::vector<std::vector<TokenId>> answers(prompts.size());
  GenerateOptions options;
  options.max_tokens = request.at("max_tokens");
  as_language_model(model)->generate(prompts, options, [&](std::size_t prompt, TokenId token, float) {
    answers[prompt].push_back(token);
    return true;
  });
  write_json(out / "answers.json", answers);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: model_tool FOLDER REQUEST.json OUT\n");
    return 2;
  }
  try {
    run(argv[1], retort::read_json(argv[2]), argv[3]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
