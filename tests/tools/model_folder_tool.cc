// model_folder_tool copy IN OUT F32|BF16|F16 MAX_SHARD_BYTES: reads a model folder, checks it and writes it
// again.
// model_folder_tool rope IN: its inverse rotary frequencies, one a line.
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "architecture/model_folder.h"
#include "base/error.h"

using namespace retort;

int main(int argc, char** argv) try {
  const std::string verb = argc > 2 ? argv[1] : "";
  if (verb == "rope") {
    for (const double frequency : rope_frequencies(ModelFolder(argv[2]).config()))
      fmt::print("{}\n", frequency);
    return 0;
  }
  if (verb != "copy" || argc != 6) return 2;
  const ModelFolder model(argv[2]);
  model.check_weights();
  SaveModelOptions options;
  options.dtype = parse_dtype(argv[4]).value();
  options.max_shard_bytes = std::stoull(argv[5]);
  options.tokenizer_from = argv[2];
  save_model_folder(
      argv[3], model.config(), [&](const ParameterSpec& spec) { return model.load(spec); }, options);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code();
}
