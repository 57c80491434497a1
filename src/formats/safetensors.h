// safetensors: u64 header length, JSON header {name: {dtype, shape, data_offsets}}, data. Read through a
// memory map; one file, or a folder's shards named by model.safetensors.index.json.
#pragma once

#include <filesystem>
#include <memory>

#include "formats/tensor_source.h"

namespace retort {

// A .safetensors file, an index file, or a folder that holds model.safetensors or
// model.safetensors.index.json. Hostile files (huge header, duplicate names, overlaps, holes, offsets past
// the end, sizes that overflow or disagree with the shape, shards that leave the folder) are an Error, before
// any allocation of a size that the file claims.
std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& path);

struct SafetensorsOptions {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  std::uint64_t max_shard_bytes = 0;  // 0: one file; else model-00001-of-0000N.safetensors and the index
};

// Writes one file (path) atomically. Elements of wider types come first, so that every tensor is aligned in
// the file.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const SafetensorsOptions& options = {}, const TensorBytes& bytes = nullptr);
// Writes model.safetensors, or shards and their index, into a folder, and removes the folder's other weights
// of these names.
void write_safetensors_folder(const std::filesystem::path& folder, std::span<const TensorView> tensors,
                              const SafetensorsOptions& options = {}, const TensorBytes& bytes = nullptr);

}  // namespace retort
