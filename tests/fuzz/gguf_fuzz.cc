// Bytes as a .gguf file: its values, model, tokenizer and chat template are read, and a model that opens and
// is small answers.
#include <cstdint>

#include "architecture/gguf_model.h"
#include "base/error.h"
#include "data/gguf_tokenizer.h"
#include "runtime/engine_language_model.h"
#include "scratch_file.h"

using namespace retort;

namespace {

constexpr std::int64_t kMostParameters = 100'000;

// An Error in one part says nothing about the others.
template <class Work>
void try_to(const Work& work) {
  try {
    work();
  } catch (const Error&) {
  }
}

void answer(std::shared_ptr<const GgufFile> file) {
  std::shared_ptr<const ModelWeights> weights = gguf_weights(std::move(file));
  try_to([&] { weights->check(); });
  if (parameter_count(weights->config()) > kMostParameters) return;
  const auto engine = std::make_shared<Engine>(
      weights, EngineOptions{.threads = 1, .cache_tokens = 64, .max_batch_tokens = 16});
  const auto model = as_language_model(engine);
  const Sequence sequence{{0, weights->config().vocab_size > 1 ? 1 : 0, 0}, ""};
  model->score(std::span(&sequence, 1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = scratch_file("model.gguf", {reinterpret_cast<const char*>(data), size});
  try_to([&] {
    const auto file = std::make_shared<const GgufFile>(path);
    for (const auto& entry : file->values()) {
      const std::string& key = entry.first;
      try_to([&] { file->integers(key); });
      try_to([&] { file->numbers(key); });
      try_to([&] { file->texts(key); });
    }
    for (const TensorView& tensor : file->tensors()) try_to([&] { to_float(tensor); });
    try_to([&] {
      if (const auto tokenizer = tokenizer_of_gguf(*file)) {
        const std::vector<TokenId> ids =
            tokenizer->encode("Hello, wörld's 2024 \n\n模型 <s>", {.add_special_tokens = true});
        tokenizer->decode(ids);
      }
    });
    try_to([&] { chat_template_of_gguf(*file); });
    try_to([&] { answer(file); });
  });
  return 0;
}
