// Writing a model folder that transformers loads.
#include <cmath>
#include <cstring>

#include "architecture/hf_config.h"
#include "architecture/model_folder.h"
#include "architecture/save_plan.h"
#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "vocab.txt",
                                           "tokenizer.model",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "generation_config.json"};

// Puts a parameter's values into its place in the stored tensor.
void place(const SavePlan::Piece& piece, const std::vector<float>& values, std::vector<float>& out,
           std::int64_t total) {
  const std::int64_t rows = piece.spec.shape[0];
  const std::int64_t columns = piece.spec.shape.size() > 1 ? piece.spec.shape[1] : 1;
  if (values.size() != static_cast<std::size_t>(rows * columns))
    throw Error({.where = piece.spec.name,
                 .found = std::to_string(values.size()) + " values",
                 .expected = std::to_string(rows * columns)},
                ErrorKind::failure);
  if (!piece.stored.transposed) {
    std::copy(values.begin(), values.end(), out.begin() + piece.stored.row_begin * columns);
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      out[static_cast<std::size_t>(column * total + piece.stored.row_begin + row)] =
          values[static_cast<std::size_t>(row * columns + column)];
}

std::vector<std::byte> encode(const std::vector<float>& values, const TensorView& tensor) {
  std::vector<std::byte> bytes(values.size() * dtype_size(tensor.dtype));
  if (tensor.dtype == DType::f32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits =
        tensor.dtype == DType::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
    if (tensor.dtype == DType::f16 && std::isfinite(values[i]) && (bits & 0x7fff) == 0x7c00)
      throw Error({.where = tensor.name,
                   .found = "the value " + std::to_string(values[i]),
                   .expected = "at most 65504, the largest number of float16",
                   .advice = "Save the model as bfloat16."});
    std::memcpy(bytes.data() + i * sizeof bits, &bits, sizeof bits);
  }
  return bytes;
}

const char* torch_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    default:
      throw Error({.where = "a model's dtype",
                   .found = std::string(dtype_name(dtype)),
                   .expected = "F32, BF16 or F16"});
  }
}

}  // namespace

SavePlan make_save_plan(const ModelConfig& config, const Family& family, DType dtype) {
  SavePlan plan;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    StoredTensor stored = family.stored(config, spec.name);
    std::vector<std::int64_t> shape = spec.shape;
    if (stored.total_rows > 0) shape[0] = stored.total_rows;
    if (stored.transposed) std::swap(shape[0], shape[1]);
    std::vector<SavePlan::Piece>& pieces = plan.pieces[stored.name];
    if (pieces.empty()) plan.tensors.push_back({stored.name, dtype, std::move(shape), {}});
    pieces.push_back({spec, std::move(stored)});
  }
  return plan;
}

std::vector<float> SavePlan::values(const TensorView& tensor, const ParameterReader& read) const {
  std::vector<float> all(static_cast<std::size_t>(tensor.element_count()));
  for (const Piece& piece : pieces.at(tensor.name)) place(piece, read(piece.spec), all, tensor.shape.back());
  return all;
}

void write_generation_config(const fs::path& folder, const ModelConfig& config) {
  const fs::path path = folder / "generation_config.json";
  Json json = fs::exists(path) ? read_json(path) : Json::object();
  if (config.bos_token_id) json["bos_token_id"] = *config.bos_token_id;
  if (config.pad_token_id) json["pad_token_id"] = *config.pad_token_id;
  if (!config.eos_token_ids.empty()) json["eos_token_id"] = token_ids_json(config.eos_token_ids);
  if (!json.empty()) write_json(path, json);
}

void save_model_folder(const fs::path& folder, const ModelConfig& config, const ParameterReader& read,
                       const SaveModelOptions& options) {
  check_config(config, folder.string());
  const Family& family = find_family(config.model_type, folder.string());
  Json json = family.to_json(config);
  json.erase("dtype");  // transformers 4 knows torch_dtype only; transformers 5 reads both
  json["torch_dtype"] = torch_name(options.dtype);
  json.erase("quantization_config");  // of the model it came from; these weights are plain
  const SavePlan plan = make_save_plan(config, family, options.dtype);

  write_safetensors_folder(
      folder, plan.tensors, {.max_shard_bytes = options.max_shard_bytes},
      [&](const TensorView& tensor) { return encode(plan.values(tensor, read), tensor); });
  write_json(folder / "config.json", json);
  if (!options.tokenizer_from.empty()) copy_tokenizer_files(options.tokenizer_from, folder);
  write_generation_config(folder, config);
}

void copy_tokenizer_files(const fs::path& from, const fs::path& to) {
  if (fs::exists(to) && fs::equivalent(from, to)) return;
  for (const char* name : kTokenizerFiles)
    if (fs::exists(from / name)) write_file_atomically(to / name, read_file(from / name));
}

}  // namespace retort
