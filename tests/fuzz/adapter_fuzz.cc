// Bytes as an adapter of a small model: a GGUF adapter if they begin as one, else the two files of a PEFT
// folder.
#include <cstdint>

#include "architecture/adapter_weights.h"
#include "base/error.h"
#include "scratch_file.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ModelConfig base = [] {
    ModelConfig config;
    config.model_type = "llama";
    config.vocab_size = 16;
    config.hidden_size = 8;
    config.head_dim = 4;
    config.max_position_embeddings = 32;
    config.layers.assign(2, {.num_attention_heads = 2, .num_key_value_heads = 1, .intermediate_size = 12});
    return config;
  }();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    if (input.starts_with("GGUF")) {
      open_adapter_weights(scratch_file("adapter.gguf", input), base);
    } else {
      const TwoFiles files(input);
      scratch_file("adapter_config.json", files.first);
      scratch_file("adapter_model.safetensors", files.second);
      open_adapter_weights(scratch_folder(), base);
    }
  } catch (const Error&) {
  }
  return 0;
}
