// A model in a GGUF file: its ModelConfig as metadata, and its parameters under llama.cpp's names and in
// llama.cpp's layout.
//
// Architectures: `llama` (also for Mistral; q and k rows interleaved for neighbour-pair rotation), `qwen2`,
// `qwen3`, `gpt2` (q, k and v fused) as llama.cpp reads them; `opt`, which llama.cpp does not know, in gpt2's
// names with q, k and v apart and no unused position rows. The whole config.json is kept under
// "retort.config", so that a model comes back as it was; files without it are read from the ordinary keys.
#pragma once

#include <functional>
#include <memory>

#include "architecture/model_folder.h"
#include "architecture/model_weights.h"
#include "formats/gguf.h"

namespace retort {

// Throws Error for an unknown architecture, missing keys and features that would change results silently.
ModelConfig config_of_gguf(const GgufFile& file);
// Architecture, sizes, rotary embedding, token ids, "retort.config".
void add_config(GgufMetadata& metadata, const ModelConfig& config);
// What llama.cpp would compute otherwise than Retort ("" = nothing known): features that its architecture has
// no key for.
std::string llama_cpp_caveat(const ModelConfig& config);

// A tensor as it is stored, and the parameters whose rows make it up, in order.
struct GgufParameter {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<ParameterSpec> parts;
  // > 0: rows of this many heads are interleaved (first half, second half, in turns).
  std::int64_t interleaved_heads = 0;
};
std::vector<GgufParameter> gguf_parameters(const ModelConfig& config);
// Where row `row` of a tensor with interleaved heads lies: the file takes a row of each half of the head in
// turns.
std::int64_t interleaved_row(std::int64_t row, std::int64_t head_rows);

std::unique_ptr<ModelWeights> gguf_weights(std::shared_ptr<const GgufFile> file);

struct SaveGgufOptions {
  // Of each stored tensor of two dimensions. One-dimensional ones are always F32.
  std::function<const Encoding&(const GgufParameter&)> encoding;
  // Per column; may be null or return nothing.
  std::function<std::span<const float>(const GgufParameter&)> importance = nullptr;
  // Called after each tensor with its values before and its blocks after encoding; may be null.
  std::function<void(const GgufParameter&, const Encoding&, std::span<const float>,
                     std::span<const std::byte>)>
      written = nullptr;
  GgufOptions file = {};
  unsigned threads = 0;  // 0: one for each processor
};

// `metadata` already holds what add_config and the tokenizer's writer put there.
void save_model_gguf(const std::filesystem::path& path, const ModelConfig& config,
                     const GgufMetadata& metadata, const ParameterReader& read,
                     const SaveGgufOptions& options);

}  // namespace retort
