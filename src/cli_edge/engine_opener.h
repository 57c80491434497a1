// Opens GGUF files and model folders with the CPU engine.
#pragma once

#include "cli_edge/model_opener.h"
#include "runtime/engine_options.h"

namespace retort {

OpenedModel open_with_engine(const std::string& path, const EngineOptions& options, bool needs_tokenizer);

std::unique_ptr<ModelOpener> make_engine_opener();

}  // namespace retort
