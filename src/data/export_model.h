// A model from one file form into another, with its tokenizer, chat template and generation settings.
#pragma once

#include <filesystem>
#include <string>

#include "architecture/gguf_model.h"

namespace retort {

// From a folder or a GGUF file. `file_type` is ggml's number for the mixture of types (general.file_type).
// Returns what llama.cpp will compute otherwise than Retort ("" = nothing known).
std::string export_gguf(const std::filesystem::path& model, const std::filesystem::path& out,
                        std::int64_t file_type, const SaveGgufOptions& options);

// From a GGUF file or a folder. dtype: F32, BF16 or F16.
void export_folder(const std::filesystem::path& model, const std::filesystem::path& out, DType dtype);

// The element type that holds the model's weights without loss: BF16 or F16 where all matrices are, else F32.
DType lossless_dtype(const ModelWeights& weights);

}  // namespace retort
