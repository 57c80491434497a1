// Opens GGUF files and model folders with the CPU engine.
#pragma once

#include "architecture/adapter_folder.h"
#include "cli_edge/model_opener.h"
#include "runtime/engine.h"

namespace retort {

// The adapters, stacked, stand beside every sequence.
OpenedModel open_with_engine(const std::string& path, const EngineOptions& options, bool needs_tokenizer,
                             const std::vector<AdapterReference>& adapters);
// A stack of adapters under a name of the engine's.
void load_adapters(Engine& engine, const std::string& name, const std::vector<AdapterReference>& stack);

std::unique_ptr<ModelOpener> make_engine_opener();

}  // namespace retort
