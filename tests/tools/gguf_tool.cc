// gguf_tool export MODEL OUT ENCODING SHARD_BYTES: a folder or GGUF file as GGUF, all matrices in one
// encoding.
// gguf_tool folder MODEL OUT F32|BF16|F16: as a Hugging Face folder.
// gguf_tool dump MODEL OUT: canonical parameters as fp32, one safetensors file; prints its types.
// gguf_tool tokenize MODEL FILE: ids of each JSON string in a JSON list, one list a line.
// gguf_tool prompt MODEL: the chat template's rendering of one user message.
#include <fmt/format.h>

#include <cstdio>
#include <list>
#include <map>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "data/export_model.h"
#include "data/model_file.h"
#include "formats/safetensors.h"

using namespace retort;

namespace {

void dump(const ModelFile& model, const std::string& out) {
  model.weights->check();
  std::list<std::vector<float>> values;
  std::vector<TensorView> views;
  for (const ParameterSpec& spec : parameter_specs(model.weights->config())) {
    values.push_back(model.weights->load(spec));
    views.push_back({spec.name, DType::f32, spec.shape, std::as_bytes(std::span(values.back()))});
    fmt::print("{} {}\n", spec.name, model.weights->get(spec).encoding->name);
  }
  write_safetensors(out, views);
}

void tokenize(const ModelFile& model, const std::string& lines) {
  for (const Json& line : read_json(lines))
    fmt::print("{}\n",
               Json(model.tokenizer->encode(line.get<std::string>(), {.add_special_tokens = true})).dump());
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string verb = argc > 2 ? argv[1] : "";
  if (verb == "export" && argc == 6) {
    const Encoding& encoding = find_encoding(argv[4], "encoding");
    SaveGgufOptions options;
    options.encoding = [&](const GgufParameter& stored) -> const Encoding& {
      return stored.shape.back() % encoding.block_size == 0 ? encoding : *encoding_of(DType::f32);
    };
    options.file.max_shard_bytes = std::stoull(argv[5]);
    fmt::print("{}\n", export_gguf(argv[2], argv[3], 1024, options));
    return 0;
  }
  if (verb == "folder" && argc == 5) {
    export_folder(argv[2], argv[3], parse_dtype(argv[4]).value());
    return 0;
  }
  if (verb == "dump" && argc == 4) return dump(open_model_file(argv[2]), argv[3]), 0;
  if (verb == "tokenize" && argc == 4) return tokenize(open_model_file(argv[2]), argv[3]), 0;
  if (verb == "prompt" && argc == 3) {
    const ModelFile model = open_model_file(argv[2]);
    const Message message = {"user", "你好"};
    fmt::print("{}", model.chat_template->render(std::span(&message, 1), true));
    return 0;
  }
  return 2;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code();
}
