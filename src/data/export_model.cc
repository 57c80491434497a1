#include "data/export_model.h"

#include "base/error.h"
#include "base/file.h"
#include "data/gguf_tokenizer.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

struct Source {
  std::unique_ptr<ModelWeights> weights;
  TokenizerFiles tokenizer;
};

Source open_source(const fs::path& model) {
  if (!looks_like_gguf(model)) return {open_model_weights(model), tokenizer_files(model)};
  const auto file = std::make_shared<const GgufFile>(model);
  return {gguf_weights(file), tokenizer_files(*file)};
}

}  // namespace

std::string export_gguf(const fs::path& model, const fs::path& out, std::int64_t file_type,
                        const SaveGgufOptions& options) {
  std::error_code ignored;
  if (fs::exists(out) && fs::equivalent(model, out, ignored))
    throw Error({.where = out.string(),
                 .found = "the model itself",
                 .expected = "another file to write",
                 .advice = ""});
  const Source source = open_source(model);
  source.weights->check();
  const ModelConfig& config = source.weights->config();
  GgufMetadata metadata;
  add_config(metadata, config);
  metadata.set_u32("general.file_type", file_type);
  metadata.set_u32("general.quantization_version", 2);
  std::string caveat = llama_cpp_caveat(config);
  const std::string tokenizer_caveat = add_tokenizer(metadata, source.tokenizer, config.vocab_size);
  if (!caveat.empty() && !tokenizer_caveat.empty()) caveat += "; ";
  caveat += tokenizer_caveat;
  save_model_gguf(
      out, config, metadata, [&](const ParameterSpec& spec) { return source.weights->load(spec); }, options);
  return caveat;
}

void export_folder(const fs::path& model, const fs::path& out, DType dtype) {
  const Source source = open_source(model);
  source.weights->check();
  AtomicFolder folder(out);
  write_tokenizer_files(source.tokenizer, folder.path());
  save_model_folder(folder.path(), source.weights->config(),
                    [&](const ParameterSpec& spec) { return source.weights->load(spec); }, {.dtype = dtype});
  folder.commit();
}

DType lossless_dtype(const ModelWeights& weights) {
  std::optional<DType> common;
  for (const ParameterSpec& spec : parameter_specs(weights.config())) {
    if (spec.shape.size() < 2) continue;
    const std::optional<DType> dtype = dtype_of(*weights.get(spec).encoding);
    if (!dtype || (common && *common != *dtype)) return DType::f32;
    common = dtype;
  }
  return common.value_or(DType::f32);
}

}  // namespace retort
