// How `retort` opens models.
#pragma once

#include "cli_edge/model_opener.h"

namespace retort {

// Folders with LibTorch, .gguf files with the CPU engine.
std::unique_ptr<ModelOpener> make_model_opener();

}  // namespace retort
