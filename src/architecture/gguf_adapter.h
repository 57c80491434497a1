// LoRA in llama.cpp's adapter files: general.type "adapter", adapter.type "lora", adapter.lora.alpha, and
// NAME.lora_a [rank, in], NAME.lora_b [out, rank] for each tensor NAME of the base in a GGUF file.
#pragma once

#include "architecture/adapter_weights.h"

namespace retort {

// Over a model of this config. Throws Error for another architecture, and naming the tensor for shapes of
// another base.
AdapterWeights read_gguf_adapter(const std::filesystem::path& path, const ModelConfig& model);

// In F32. Throws Error for a prefix, which the format has no place for.
void write_gguf_adapter(const std::filesystem::path& path, const AdapterWeights& adapter,
                        const ModelConfig& model);

}  // namespace retort
